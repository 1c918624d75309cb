"""requirements.lock pins all that pyproject.toml asks for, by hashes, and says nothing of where it comes from."""

import re
import tomllib
from collections.abc import Iterator

import pytest
from packaging.requirements import Requirement
from paths import ROOT

PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))
APART = {"openvino", "litert", "ray", "video"}  # extras that `make test-extras` installs beside what is locked
LOCK = (ROOT / "requirements.lock").read_text(encoding="utf-8")


def asked_for() -> Iterator[Requirement]:
    """Direct requirements of the package, its extras and its build."""
    groups = [PROJECT["project"]["dependencies"], PROJECT["build-system"]["requires"]]
    extras = PROJECT["project"]["optional-dependencies"]
    groups += [extras[name] for name in extras if name not in APART] + [*PROJECT["dependency-groups"].values()]
    yield from (Requirement(line) for group in groups for line in group)


def entries() -> list[tuple[Requirement, list[str]]]:
    """Each pinned requirement with its hashes."""
    lines = LOCK.replace("\\\n", " ").splitlines()
    found = [re.split(r"\s+--hash=", line.strip()) for line in lines if line and not line.lstrip().startswith("#")]
    return [(Requirement(head), hashes) for head, *hashes in found]


@pytest.mark.parametrize("asked", [*asked_for()], ids=str)
def test_it_has_what_the_project_asks_for(asked: Requirement) -> None:
    pins = [pin for pin, _ in entries() if pin.name == asked.name]
    assert pins, f"{asked} is not in requirements.lock: make lock"
    for pin in pins:
        (version,) = (each.version for each in pin.specifier)
        assert asked.specifier.contains(version, prereleases=True), f"{asked} is locked at {version}: make lock"


def test_every_entry_is_one_version_with_hashes_and_nothing_else() -> None:
    assert len(entries()) > 100
    for pin, hashes in entries():
        assert [each.operator for each in pin.specifier] == ["=="]
        assert pin.url is None
        assert hashes, pin
        assert all(re.fullmatch(r"sha256:[0-9a-f]{64}", each) for each in hashes), pin


def test_no_index_is_named() -> None:
    assert "://" not in LOCK
    assert not re.search(r"^\s*-", LOCK.replace("\\\n", " "), re.MULTILINE), "no option such as --index-url"

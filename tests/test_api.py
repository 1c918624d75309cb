"""The public names, and the arrows between the modules: they run one way, and none leads out of the library."""

import ast
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

import stylecore

PACKAGE = Path(stylecore.__file__).parent

# A module may import those before it, never one after it. A new module is added where it belongs.
ORDER = (
    "errors",
    "version",
    "allocator",
    "program",
    "files",
    "scratch",
    "fields",
    "isolation",
    "reuse",
    "pixels",
    "heic",
    "decoding",
    "encoding",
    "resampling",
    "images",
    "storage",
    "cluster",
    "sample_images",
    "devices",
    "color",
    "blending",
    "flow",
    "losses",
    "encoders",
    "regions",
    "tiles",
    "fitted",
    "metrics",
    "strength",
    "config",
    "presets",
    "schedule",
    "memory",
    "temporal",
    "objective",
    "optimizers",
    "loop",
    "job",
    "start",
    "detail",
    "patches",
    "engine",
    "measured_run",
    "clips",
    "film",
    "video",
    "profiling",
    "compare",
    "sweep",
    "report",
    "batch",
    "bench",
    "__init__",
    "cli",
    "__main__",
)
FOREIGN = {"demo", "export", "gradio", "onnx", "onnxruntime", "onnxscript"}
NOT_AT_IMPORT = ("gradio", "onnx", "onnxruntime", "matplotlib", "torchvision", "skimage", "typer")

# module or package of stylecore -> its files
FILES = {path.stem: [path] for path in sorted(PACKAGE.glob("*.py"))} | {
    path.parent.name: sorted(path.parent.rglob("*.py")) for path in sorted(PACKAGE.glob("*/__init__.py"))
}
FILES["__init__"].append(PACKAGE / "__init__.pyi")  # what it imports when it is asked


def imports(path: Path) -> Iterator[str]:
    """Dotted names of all that a file imports, wherever in it; of our own library, `stylecore.<module>`."""
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            module = ".".join(["stylecore"] * bool(node.level) + [node.module] * bool(node.module))
            if module == "stylecore":
                yield from (f"stylecore.{alias.name if alias.name in FILES else '__init__'}" for alias in node.names)
            else:
                yield module


def own_modules(module: str) -> set[str]:
    """The modules of stylecore that a module imports; for a package those of all its files, itself left out."""
    parts = [name.split(".") for path in FILES[module] for name in imports(path)]
    found = {name[1] if len(name) > 1 else "__init__" for name in parts if name[0] == "stylecore"}
    return found - {module} if len(FILES[module]) > 1 else found


def test_every_module_has_its_place() -> None:
    missing = set(FILES) - set(ORDER)
    assert not missing, f"add {missing} to ORDER in this test, after all that they import"
    assert len(set(ORDER)) == len(ORDER)


@pytest.mark.parametrize("module", [name for name in ORDER if name in FILES])
def test_no_arrow_runs_back(module: str) -> None:
    back = {name for name in own_modules(module) if ORDER.index(name) >= ORDER.index(module)}
    assert not back, f"{module} imports {back}, which stand after it"


def test_the_walk_sees_arrows() -> None:
    assert {"config", "errors"} <= own_modules("presets")
    assert "engine" in own_modules("__init__")
    assert {"compare", "images"} <= own_modules("cli")
    assert "errors" in own_modules("losses")


@pytest.mark.parametrize("module", FILES)
def test_the_library_knows_nothing_of_its_users(module: str) -> None:
    assert not {name.split(".")[0] for path in FILES[module] for name in imports(path)} & FOREIGN


@pytest.mark.parametrize("module", ["stylecore", "stylecore.program"])
def test_importing_the_library_loads_nothing_before_a_name_is_used(module: str) -> None:
    script = f"import sys, {module}; print(*[name for name in ('torch', 'numpy', 'PIL') if name in sys.modules])"
    assert run_python(script) == []


def test_using_the_library_loads_nothing_heavy_but_torch() -> None:
    script = f"import sys; from stylecore import *; print(*[name for name in {NOT_AT_IMPORT} if name in sys.modules])"
    assert run_python(script) == []


def run_python(script: str) -> list[str]:
    """The words that it prints, and nothing on stderr."""
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    assert done.stderr == ""
    return done.stdout.split()


def test_the_public_names_exist() -> None:
    """Those that a type checker sees are those that there are."""
    (stub,) = (path for path in FILES["__init__"] if path.suffix == ".pyi")
    *_, names = ast.parse(stub.read_text(encoding="utf-8")).body
    assert isinstance(names, ast.Assign)
    assert sorted(ast.literal_eval(names.value)) == stylecore.__all__
    assert all(hasattr(stylecore, name) for name in stylecore.__all__)


@pytest.mark.parametrize("name", [name for name in stylecore.__all__ if not name.isupper()])
def test_every_public_name_says_what_it_is(name: str) -> None:
    doc = getattr(stylecore, name).__doc__
    assert doc
    assert not doc.startswith(f"{name}("), "a dataclass's automatic text is no docstring"


def test_errors_and_notes_can_be_caught_as_one() -> None:
    errors = [getattr(stylecore, name) for name in stylecore.__all__ if name.endswith("Error")]
    assert len(errors) > 3
    assert all(issubclass(error, stylecore.StylecoreError) for error in errors)
    assert issubclass(stylecore.ImageNote, Warning)

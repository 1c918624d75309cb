"""docs/study.md: the template's prose, with the numbers of the records."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import Any

import jinja2

from studies.claims import CLEAR, MOST
from studies.findings import MAIN, Study, spaced
from stylecore.metrics import DETAIL_SIGMA_PX
from stylecore.presets import make_config
from stylecore.report import Table, wrapped

COMMAND = "python -m studies"
TEMPLATE = Path(__file__).parent / "study.md.jinja"
SMALL_ENCODERS = (2, 4)  # times as fast as the full one


def render(study: Study) -> str:
    """The whole document. An UndefinedError or KeyError names what the records do not hold."""
    environment = jinja2.Environment(
        loader=jinja2.FileSystemLoader(TEMPLATE.parent),
        undefined=jinja2.StrictUndefined,
        finalize=lambda value: value.markdown() if isinstance(value, Table) else value,
    )
    environment.filters |= {
        "fixed": lambda value, digits: f"{value:.{digits}f}",
        "listed": listed,
        "percent": percent,
        "power": "{:.0e}".format,
        "quoted": lambda names: [f"`{name}`" for name in names],
        "share": study.costs.share,
        "speedup": study.costs.speedup,
    }
    return wrapped(environment.get_template(TEMPLATE.name).render(vars(study) | _more(study)))


def _more(study: Study) -> dict[str, Any]:
    """What the template names beside the findings."""
    share, least = float(MAIN.rstrip("%")) / 100, study.sweep.shares[0]
    return {
        "beyond": study.costs.memory["beyond_features_mib"],
        "clear": CLEAR,
        "command": COMMAND,
        "config": make_config("gatys"),
        "kernels_table": study.kernels_table,
        "least": f"pca {least}",
        "least_share": spaced(least),
        "main": spaced(MAIN),
        "most": MOST,
        "paper_share": "50 %",
        "photo_names": sorted({key.split("+")[0] for key in study.weights.parts}),
        "sigma_px": f"{DETAIL_SIGMA_PX:g}",
        "small_encoders": SMALL_ENCODERS,
        "theory_ratio": 1 / (share + share**2),
    }


def percent(share: float) -> str:
    return f"{100 * share:.{1 if abs(share) < 0.095 else 0}f} %"


def listed(words: Iterable[object]) -> str:
    """a, b and c"""
    *others, last = map(str, words)
    return f"{', '.join(others)} and {last}" if others else last

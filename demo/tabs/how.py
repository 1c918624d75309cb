"""The How it works tab: the losses in a few sentences, then what the study found, in its own words."""

from __future__ import annotations

import re
from pathlib import Path

import gradio as gr

from ..components.figures import table_html
from .base import Tab

# Copies of docs/study.md and of these figures, made by tools/copy_study.py: a wheel has no docs.
STUDY = Path(__file__).parent.parent / "study" / "study.md"
FIGURES = ("sweep_pictures", "shuffle", "kernels", "costs")

BENCH = STUDY.parent / "bench.md"  # docs/benchmarks/bench.md
STOPS_INTRODUCTION = """
## What a stop costs and keeps

*Sketch* is the recipe `draft`, *Preview* `preview`, *Fine* `standard`, *Full* `full`, each from coarse to fine. The
table is of the bench at 256 px, against the method of 2016 (`gatys`). Comparing fewer directions (`pca`) inside a stop
saves little of its time, because the network takes nearly all of it, and costs style: so all stops compare whole
matrices.
"""
EXPLANATION = """
## How it works

A network that learned to recognise things, VGG-16, looks at three pictures: your photo, the style, and the result so
far. Nothing is trained. The **pixels of the result** are changed, step by step, until the network sees in it

- the **content** of the photo: the same features at the same places, at one deep layer;
- the **style** of the picture: features that occur together as often as they do there, wherever they are. This is what
  a **Gram matrix** holds, one for each of five layers, from grain and colours to larger shapes.

*Strength* says how much the second counts against the first, on a scale of which equal moves look equal.

## The style losses

- **gram** compares the whole matrices: the method of Gatys, Ecker and Bethge (2016).
- **pca** first projects the features on a few directions, those that vary most in the style, and compares the much
  smaller matrices. *Components* is how many directions are kept.
- **svd** compares matrices from which the small singular values are dropped.
- **weighted** lets some feature maps count more than others.
- **w2**, **swd** and **histogram** ask how far the style's features would have to be moved, within such few directions.
- **nnfm** wants every place to be like one of the style's.
- **mmd-…** and **bn** compare other statistics of the same features: kernels, or means and standard deviations alone.

## Which result is better?

Two numbers judge every result, whatever made it, and 0 means equal: the **style distance** compares the Gram matrices
with the style's, the **content distance** compares deep features with the photo's. More strength lowers the first and
raises the second.
"""


class HowTab(Tab):
    """Text and figures."""

    name, label = "how", "How it works"

    def lay_out(self) -> None:
        """The explanation, the study's short findings, and some of its figures with their captions."""
        study = STUDY.read_text(encoding="utf-8")
        gr.Markdown(EXPLANATION)
        gr.Markdown(STOPS_INTRODUCTION)
        gr.HTML(table_html(*table(section(BENCH.read_text(encoding="utf-8"), "Presets"))), elem_classes="table")
        gr.Markdown("## What we measured\n" + section(study, "In short"))
        for name in FIGURES:
            picture, caption = figure(study, name)
            gr.Image(
                str(STUDY.parent / Path(picture).name),
                show_label=False,
                interactive=False,
                buttons=["fullscreen"],
                alt_text=caption,
            )
            gr.Markdown(caption, elem_classes="caption")


def section(text: str, heading: str) -> str:
    """What stands under a heading of the study."""
    (section,) = re.findall(rf"^## {re.escape(heading)}\n(.*?)^## ", text, re.MULTILINE | re.DOTALL)
    return section


def table(text: str) -> tuple[list[str], list[list[str]]]:
    """Headers and rows of the table in a text."""
    lines = [line.strip("| ").replace("`", "") for line in text.splitlines() if line.startswith("|")]
    headers, _, *rows = ([cell.strip() for cell in line.split("|")] for line in lines)
    return headers, rows


def figure(text: str, name: str) -> tuple[str, str]:
    """(path beside docs/study.md, caption) of one of its figures."""
    ((picture, caption),) = re.findall(rf"!\[[^]]*\]\((study/{name}\.\w+)\)\n\n\*(.*?)\*", text, re.DOTALL)
    return picture, " ".join(caption.split())

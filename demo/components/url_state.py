"""The page's settings in the browser's address, and back: the one place that knows what a link says.

A link is `?photo=astronaut&style=flow_strokes&preset=...`, a key for every control. It restores the settings without
anything stored on the server. Pictures are named where they are examples; a visitor's own are not in it.
"""

from __future__ import annotations

import html
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any
from urllib.parse import parse_qs, urlencode

import gradio as gr
from gradio.components import Component

from stylecore import OptionError
from stylecore.config import parse_field
from stylecore.errors import unknown
from stylecore.presets import DEFAULT_PRESET
from stylecore.strength import strength_of

from .. import examples
from ..server.queue import AT_ONCE
from ..server.settings import Settings
from .fields import in_labels

OWN_PICTURE = "own"  # stands for a picture that only its owner's browser has
SETTLED_MS = 300  # after the last change, the address gets a new entry in the browser's history

# Back and forward move through the settings as they were; the page itself stays, with its own pictures and results.
# What is written until the visitor does something else makes no new entry: it would end the way forward.
READ = """() => {
    window.onpopstate = () => {
        window.isMoving = true;
        document.getElementById("restore").click();
    };
    window.onpointerdown = window.onkeydown = () => { window.isMoving = false; };
    return location.search;
}"""
WRITE = f"""(query) => {{
    clearTimeout(window.urlTimer);
    window.urlTimer = setTimeout(() => {{
        if ("?" + query === location.search) return;
        history[location.search && !window.isMoving ? "pushState" : "replaceState"](null, "", "?" + query);
    }}, {SETTLED_MS});
}}"""


def as_text(value: Any) -> str:
    """Whole floats without their point: the browser sends 1 where Python had 1.0."""
    return str(value).removesuffix(".0")


def _text(value: Any) -> str | None:
    return None if value is None else as_text(value)


# Links of before there was strength.
EARLIER = re.compile(r"\bstyle_weight=([\d.]+(?:e[+-]?\d+)?)(?=&|$)")


def _renamed(found: re.Match[str]) -> str:
    return f"strength={as_text(round(strength_of(float(found[1])), 3))}"


@dataclass(frozen=True)
class Control:
    """A component whose value is in the address: `read` raises an OptionError for what cannot be its value, and what
    `write` makes None of is left out."""

    component: Component
    read: Callable[[str], Any] = str
    write: Callable[[Any], str | None] = _text


def picture_control(component: Component) -> Control:
    """An image input: an example by its name, or empty."""

    def read(name: str) -> Any:
        if name == OWN_PICTURE:
            return gr.skip()
        if name and name not in examples.PHOTOS | examples.STYLES:
            raise unknown("example", name, examples.PHOTOS | examples.STYLES)
        return examples.served(name) if name else None

    def write(picture: Any) -> str:
        return "" if picture is None else examples.name_of(picture) or OWN_PICTURE

    return Control(component, read, write)


def field_control(component: Component, field: str, settings: Settings) -> Control:
    """A field of `StylizeConfig`, checked as for a job."""

    def read(text: str) -> Any:
        config = settings.make_config(**{"preset": DEFAULT_PRESET, field: parse_field(field, text)})
        return config.to_dict()[field]

    return Control(component, read)


def optional_control(component: Component, field: str, settings: Settings) -> Control:
    """The same of a field that may be left to the preset: an empty text, for the value that shows nothing."""
    given = field_control(component, field, settings)
    nothing = "" if isinstance(component, gr.Dropdown) else None
    return Control(component, lambda text: given.read(text) if text else nothing, lambda value: as_text(value or ""))


def number_control(component: Component, low: float, high: float) -> Control:
    """A number that is no field of the config."""

    def read(text: str) -> float:
        try:
            value = float(text)
        except ValueError:
            value = float("nan")
        if not low <= value <= high:
            raise OptionError(f"'{text}' is no number between {low:g} and {high:g}.")
        return value

    return Control(component, read)


def choice_control(component: Component, kind: str, choices: Sequence[str]) -> Control:
    """One of `choices`."""

    def read(text: str) -> str:
        if text not in choices:
            raise unknown(kind, text, choices)
        return text

    return Control(component, read)


def list_control(component: Component) -> Control:
    """Several words."""
    return Control(component, lambda text: [word for word in text.split(",") if word], ",".join)


def to_query(controls: Mapping[str, Control], values: Mapping[str, Any]) -> str:
    """The controls' values as a query string, in the controls' order."""
    written = {name: control.write(values[name]) for name, control in controls.items()}
    return encoded({name: text for name, text in written.items() if text is not None})


def encoded(texts: Mapping[str, str]) -> str:
    """Texts of controls as a query string."""
    return urlencode(texts, safe=",:")


def from_query(controls: Mapping[str, Control], query: str) -> tuple[dict[str, Any], list[str]]:
    """Values of the controls that a query string names, and a sentence for each that it gives wrongly."""
    values: dict[str, Any] = {}
    complaints: list[str] = []
    query = EARLIER.sub(_renamed, query)
    for name, texts in parse_qs(query.removeprefix("?"), keep_blank_values=True).items():
        if name in controls:
            try:
                values[name] = controls[name].read(texts[-1])
            except OptionError as error:
                complaints.append(f"The link's {name.replace('_', ' ')} was left out. {in_labels(str(error))}")
    return values, complaints


class UrlState:
    """Keeps the browser's address and the controls equal; made inside a `gr.Blocks`, after all controls.

    `notice` shows what was wrong with a link: a message
    that vanishes by itself would need a place in the jobs' queue.
    """

    def __init__(
        self,
        app: gr.Blocks,
        controls: Mapping[str, Control],
        notice: gr.HTML,
    ) -> None:
        self.notice = notice
        self.controls = dict(controls)
        self.query = gr.Textbox(visible=False)
        self.own = gr.State([])  # names of the pictures that the address leaves to their owner's browser
        components = [control.component for control in self.controls.values()]
        restore = gr.Button(visible="hidden", elem_id="restore")  # pressed by the browser's back and forward
        changes = [component.change for component in components]  # type: ignore[attr-defined]
        self._write_when(partial(gr.on, changes, trigger_mode="always_last"))
        self.restored = gr.on(
            [app.load, restore.click], self._read, self.query, [notice, self.own, *components], js=READ, **AT_ONCE
        )
        self._write_when(self.restored.then)

    def _write_when(self, listen: Callable[..., Any]) -> None:
        components = {control.component for control in self.controls.values()}
        written = listen(self._write, components, self.query, preprocess=False, **AT_ONCE)
        written.success(None, self.query, None, js=WRITE)

    def _write(self, values: dict[Any, Any]) -> str:
        return to_query(self.controls, {name: values[control.component] for name, control in self.controls.items()})

    def _read(self, query: str) -> dict[Any, Any]:
        values, complaints = from_query(self.controls, query)
        said = {self.notice: gr.HTML("<br>".join(map(html.escape, complaints)), visible=bool(complaints))}
        own = [name for name, texts in parse_qs(query.removeprefix("?")).items() if texts[-1] == OWN_PICTURE]
        return said | {self.own: own} | {self.controls[name].component: value for name, value in values.items()}

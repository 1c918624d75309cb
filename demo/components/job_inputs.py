"""The left side of the page: the pictures and settings that every tab works with."""

from __future__ import annotations

import html
import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import gradio as gr

from stylecore import PRESETS, StylizeConfig, make_config
from stylecore.devices import find_device
from stylecore.images import SAVED_SUFFIXES
from stylecore.job import Job, SavedSettings
from stylecore.presets import DEFAULT_PRESET

from .. import examples
from ..finished import WALL
from ..server.messages import friendly_errors, message_of
from ..server.queue import AT_ONCE, BESIDE_JOBS
from ..server.settings import Settings
from ..server.timings import Timings
from ..server.uploads import is_there, read_job, read_picture, uploaded
from ..stops import STOPS
from . import fields
from .painter import SECOND, Painter
from .progress import duration
from .tiles import on_click, tile_row
from .url_state import OWN_PICTURE, Control, as_text, field_control, number_control, optional_control, picture_control

SIZE_ON_CPU_PX, SIZE_ON_GPU_PX = 384, 512  # to start with
FIRST: dict[str, Any] = WALL[0].settings if WALL else {"photo": "chelsea", "style": "stained_glass", "strength": 55}
COMPONENTS = ["3%", "6%", "12.5%", "25%", "50%", "var:0.95"]
MAX_STYLES = 3
FREE = ("loss", "num_steps", "init")  # fields that are the preset's unless the visitor says otherwise


class JobInputs:
    """Its components, and how they become a job; made inside a `gr.Blocks`."""

    def __init__(self, settings: Settings, timings: Timings) -> None:
        self.settings, self.timings = settings, timings
        with gr.Row():
            self.photo, photo_tiles = _picture("Photo", examples.PHOTOS, FIRST["photo"])
            style, style_tiles = _picture("Style", examples.STYLES, FIRST["style"])
        self.styles, self._tiles = [style], [photo_tiles, style_tiles]
        self.fields: dict[str, Any] = {}
        self._lay_out_settings()
        self._lay_out_more_styles()
        self.painter = Painter(self.photo)
        self._lay_out_advanced()
        self.own_pictures = gr.BrowserState({})  # of this browser: where its uploads are, by control
        self._wire()

    @property
    def controls(self) -> dict[str, Control]:
        """What of it is in the address."""
        controls = {name: picture_control(picture) for name, picture in self.pictures.items()}
        controls |= {name: number_control(share, 0, 1) for name, share in self._shares.items()}
        controls |= self.painter.controls
        return controls | {name: self._field_control(name) for name in self.fields}

    def _field_control(self, name: str) -> Control:
        if name == "strength":
            return number_control(self.fields[name], 0, 100)
        control = optional_control if name in FREE else field_control
        return control(self.fields[name], name, self.settings)

    @property
    def pictures(self) -> dict[str, Any]:
        """Photo and styles by the names that a link has."""
        return {"photo": self.photo} | _numbered("style", self.styles)

    @property
    def _shares(self) -> dict[str, Any]:
        return _numbered("share", self.shares)

    @property
    def components(self) -> set[Any]:
        """All that a job is read from."""
        return set(self.by_name.values())

    @property
    def by_name(self) -> dict[str, Any]:
        """The same by the names that a link has."""
        return {name: control.component for name, control in self.controls.items()}

    def read_options(self, values: Mapping[Any, Any]) -> dict[str, Any]:
        """Preset and fields of the config. The style weights are those of the styles that are mixed."""
        shares = [values[share] for style, share in zip(self.styles, self.shares, strict=True)
                  if style in self._mixed(values)]  # fmt: skip
        options = {name: values[component] for name, component in self.fields.items()}
        options |= {name: None for name in FREE if options[name] == fields.PRESETS_OWN}
        return options | {"style_weights": shares if len(shares) > 1 else None}

    def read_config(self, values: Mapping[Any, Any]) -> StylizeConfig:
        """What is wrong with the settings is said before a picture is opened."""
        return self.settings.make_config(**self.read_options(values))

    def read_job(self, values: Mapping[Any, Any], config: StylizeConfig | None = None) -> Job:
        """The pictures with the settings beside them, or with a config of their own."""
        config = config or self.read_config(values)
        job = read_job(values[self.photo], [values[style] for style in self._mixed(values)], config)
        return self.painter.add_to(job, values, values[self.styles[1]])

    def _mixed(self, values: Mapping[Any, Any]) -> list[Any]:
        """The inputs of styles that are mixed: those with a picture, but for one that what is painted gets."""
        of_painted = self.styles[1] if self.painter.takes_second(values) else None
        return [style for style in self.styles if values[style] and style is not of_painted]

    def fingerprint(self, values: Mapping[Any, Any]) -> str:
        """The same for the same settings and pictures: says whether a result is theirs."""
        named = {name: values[component] for name, component in self.by_name.items()}
        return json.dumps([_plain(value) for value in named.values()])

    def _lay_out_settings(self) -> None:
        with gr.Row():
            self.fields["strength"] = gr.Slider(
                0, 100, FIRST["strength"], step=1, label="Strength", info=fields.INFOS["strength"], min_width=230,
                elem_id="strength", buttons=[],
            )  # fmt: skip
            self.fields["keep_colors"] = fields.dropdown("keep_colors", "none", info="Of the photo", min_width=130)
        self.detail = gr.Radio(
            self._stops(None), value=DEFAULT_PRESET, label="Detail", elem_id="detail",
            info="What each takes here, and what it makes of one square",
        )  # fmt: skip
        size = SIZE_ON_CPU_PX if find_device().type == "cpu" else SIZE_ON_GPU_PX
        with gr.Row():
            self.fields["size"] = fields.slider(
                "size", size, self.settings, step=32, buttons=[], elem_id="size", min_width=200
            )
            self.fields["style_scale"] = fields.slider(
                "style_scale", 1, self.settings, step=0.05, buttons=[], elem_id="style-scale", min_width=200
            )

    def _lay_out_more_styles(self) -> None:
        with gr.Accordion("Mix in more styles", open=False):
            with gr.Row():
                for number in range(2, MAX_STYLES + 1):
                    style, tiles = _picture(f"Style {number}", examples.STYLES, height=150)
                    self.styles.append(style)
                    self._tiles.append(tiles)
            with gr.Row():
                self.shares = [
                    gr.Slider(0, 1, value=1, step=0.05, label=f"Share of style {number}", min_width=100, buttons=[])
                    for number in range(1, MAX_STYLES + 1)
                ]

    def _lay_out_advanced(self) -> None:
        with gr.Accordion("Advanced", open=False):
            self.fields["preset"] = fields.dropdown("preset", DEFAULT_PRESET, list(PRESETS), elem_id="preset")
            with gr.Row():
                self.fields["loss"] = fields.optional_dropdown("loss", min_width=190)
                self.fields["components"] = fields.dropdown(
                    "components", str(StylizeConfig.components), COMPONENTS, allow_custom_value=True, min_width=110
                )
            with gr.Row():
                self.fields["num_steps"] = fields.whole_number(
                    "num_steps", None, self.settings, info="Empty: the recipe's", min_width=90
                )
                self.fields["init"] = fields.optional_dropdown("init", info="", min_width=130)
                self.fields["seed"] = fields.whole_number("seed", 0, self.settings, min_width=90)
        self.load = gr.UploadButton(
            "Load the settings of a picture made here, or drop it anywhere", file_types=[*SAVED_SUFFIXES], size="sm"
        )

    def _wire(self) -> None:
        preset, size = self.fields["preset"], self.fields["size"]
        self.detail.input(lambda stop: stop, self.detail, preset, **AT_ONCE)
        preset.change(lambda name: name if name in STOPS.values() else None, preset, self.detail, **AT_ONCE)
        # Not "always_last", which the address has for the same changes: two of them call each other up without end.
        size.change(self.show_seconds, size, [self.detail, preset], trigger_mode="multiple", **AT_ONCE)
        for picture, tiles in zip(self.pictures.values(), self._tiles, strict=True):
            on_click(tiles, _served, None, picture)
        loaded = [*self.by_name.values()]
        self.load.upload(self._load_settings, self.load, loaded, preprocess=False, **BESIDE_JOBS)
        changes = [picture.change for picture in self.pictures.values()]
        gr.on(changes, self._remember, {*self.pictures.values()}, self.own_pictures, preprocess=False, **AT_ONCE)

    def check_when_chosen(self, notice: gr.HTML) -> None:
        """Say at once what is wrong with a picture, and not only when the job begins."""
        for name, picture in self.pictures.items():
            role = "photo" if name == "photo" else "style"
            picture.upload(
                lambda upload, role=role: _problem(upload, role), picture, notice, preprocess=False, **AT_ONCE
            )

    def restore(self, own_pictures: Mapping[str, str], named: Sequence[str]) -> dict[Any, Any]:
        """This browser's own pictures, where the address says that there were some and they are still here."""
        return {
            picture: own_pictures[name]
            for name, picture in self.pictures.items()
            if name in named and name in own_pictures and is_there(own_pictures[name])
        }

    def _remember(self, values: dict[Any, Any]) -> dict[str, str]:
        chosen = {name: values[picture] for name, picture in self.pictures.items()}
        return {name: each["path"] for name, each in chosen.items() if each and not examples.name_of(each)}

    def show_seconds(self, size: float) -> tuple[gr.Radio, gr.Dropdown]:
        """What each stop and recipe takes here, by its last run."""
        named = [(self._with_seconds(words, name, size), name) for words, name in fields.in_words("preset", [*PRESETS])]
        return gr.Radio(self._stops(size)), gr.Dropdown(named)

    def _stops(self, size: float | None) -> list[tuple[str, str]]:
        return [(self._with_seconds(stop, preset, size), preset) for stop, preset in STOPS.items()]

    def _with_seconds(self, words: str, preset: str, size: float | None) -> str:
        seconds = self.timings.estimate(make_config(preset, size=round(size))) if size else None
        return words if seconds is None else f"{words} · {duration(seconds)}"

    def _load_settings(self, upload: Any) -> dict[Any, Any]:
        """Settings of a saved result, as if its link was opened; its pictures too, where they are examples."""
        with friendly_errors():
            saved = SavedSettings.read(uploaded(upload, "result"))
            config = StylizeConfig.from_dict(saved.config)
            controls, settings = self.controls, self.saved_settings(saved)
            values = {controls[name].component: controls[name].read(text) for name, text in settings.items()}
            # Of the styles only their number is wanted here.
            shown = self.read_config(dict.fromkeys(self.components) | values | dict.fromkeys(self.styles))
        gr.Info(f"The settings were loaded{_without_control(config, shown)}.")
        return values

    def saved_settings(self, saved: SavedSettings) -> dict[str, str]:
        """The settings inside a result as a link has them. Raises an OptionError for what is no config."""
        config = StylizeConfig.from_dict(saved.config)
        stored = config.to_dict() | {"strength": round(config.strength, 6)}
        if stored["preset"] not in PRESETS:
            stored["preset"] = DEFAULT_PRESET
        recipe = make_config(stored["preset"]).to_dict()
        stored |= {name: None for name in FREE if stored[name] == recipe[name]}
        texts = dict.fromkeys(self.pictures, "" if saved.sources else OWN_PICTURE)
        painted = self.painter.saved(saved)
        sources, weights = list(saved.sources), list(config.style_weights)
        if painted["painted"] == SECOND and saved.regions[0].style is not None:
            sources.insert(2, saved.regions[0].style)
            weights = weights and [weights[0], 1.0, *weights[1:]]
        named = zip(self.pictures, sources, strict=False)
        texts |= {name: examples.find(source) or OWN_PICTURE for name, source in named} | painted
        weights = weights[:MAX_STYLES]  # whose sum is free, but the sliders end at 1
        shares = [weight / max(1, *weights) for weight in weights] + [1] * (MAX_STYLES - len(weights))
        texts |= {name: as_text(share) for name, share in zip(self._shares, shares, strict=True)}
        return texts | {name: "" if stored[name] is None else as_text(stored[name]) for name in self.fields}


def _numbered(name: str, components: list[Any]) -> dict[str, Any]:
    """style, style2, style3."""
    return {f"{name}{number if number > 1 else ''}": each for number, each in enumerate(components, start=1)}


def _plain(value: Any) -> Any:
    """A picture by its file, a number as browsers write it."""
    if isinstance(value, Mapping):
        return value["path"]
    return "" if value is None else as_text(value)


def _served(event: gr.EventData) -> str:
    return examples.served(event.name)


def _problem(upload: Any, role: str) -> gr.HTML:
    """What is wrong with a picture that was just chosen, or was done to it."""
    try:
        _, said = read_picture(uploaded(upload, role), role)
    except Exception as error:
        said = [message_of(error)]
    return gr.HTML("<br>".join(map(html.escape, said)), visible=bool(said))


def _without_control(config: StylizeConfig, shown: StylizeConfig) -> str:
    """What the page cannot show, and leaves to the preset."""
    differ = [
        field
        for field in config.to_dict()
        if getattr(config, field) != getattr(shown, field)
        and not (field == "style_weight" and abs(config.strength - shown.strength) < 1e-4 and config.style_weight <= 1)
    ]
    words = [field.replace("_", " ") for field in differ if field not in ("preset", "style_weights")]
    return f", but not {', '.join(words)}, for which this page has no control" if words else ""


def _picture(
    label: str, files: Mapping[str, Path], shown: str | None = None, height: int = 200
) -> tuple[gr.Image, gr.HTML]:
    """An image input, and all examples below to click on."""
    with gr.Column(min_width=130):
        # By path: stylecore reads the file itself, so that its limits, EXIF and colour rules hold.
        picture = gr.Image(
            shown and str(files[shown]),
            label=label,
            type="filepath",
            sources=["upload", "webcam", "clipboard"],
            height=height,
            buttons=[],
            alt_text=label,
        )
        row = tile_row(examples.tiles(files), f"Examples: {label.lower()}")
    return picture, row

"""The left side of the page: the pictures and settings that every tab works with."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import gradio as gr

from stylecore import PRESETS, StylizeConfig, make_config
from stylecore.devices import find_device
from stylecore.job import Job, SavedSettings
from stylecore.losses import option_names
from stylecore.presets import DEFAULT_PRESET

from .. import examples
from ..server.messages import friendly_errors
from ..server.queue import AT_ONCE, BESIDE_JOBS
from ..server.settings import Settings
from ..server.uploads import read_job, uploaded
from . import fields
from .url_state import OWN_PICTURE, Control, as_text, field_control, number_control, picture_control

SIZE_ON_CPU_PX, SIZE_ON_GPU_PX = 256, 512  # to start with
STYLE_WEIGHTS = [0.1, 0.3, 1, 3, 10]
COMPONENTS = ["3%", "6%", "12.5%", "25%", "50%", "var:0.95"]
MAX_STYLES = 3
RECIPE = ("loss", "components", "num_steps", "init")  # fields that a preset sets, all others are the visitor's


class JobInputs:
    """Its components, and how they become a job; made inside a `gr.Blocks`."""

    def __init__(self, settings: Settings) -> None:
        self.settings = settings
        with gr.Row():
            self.photo = _picture("Photo", examples.PHOTOS, "astronaut")
            self.styles = [_picture("Style", examples.STYLES, "flow_strokes")]
        self.fields: dict[str, Any] = {}
        self._lay_out_settings()
        self._lay_out_more_styles()
        self._lay_out_advanced()
        self._wire()

    @property
    def controls(self) -> dict[str, Control]:
        """What of it is in the address."""
        controls = {name: picture_control(picture) for name, picture in self._pictures.items()}
        controls |= {name: number_control(share, 0, 1) for name, share in self._shares.items()}
        return controls | {
            name: field_control(component, name, self.settings) for name, component in self.fields.items()
        }

    @property
    def _pictures(self) -> dict[str, Any]:
        return {"photo": self.photo} | _numbered("style", self.styles)

    @property
    def _shares(self) -> dict[str, Any]:
        return _numbered("share", self.shares)

    @property
    def components(self) -> set[Any]:
        """All that a job is read from."""
        return {self.photo, *self.styles, *self.shares, *self.fields.values()}

    def complete(self, values: dict[str, Any]) -> dict[str, Any]:
        """A link's values with the recipe of the preset that it names, as far as it does not say otherwise."""
        if "preset" not in values:
            return values
        config = make_config(values["preset"]).to_dict()
        return {name: config[name] for name in RECIPE} | values

    def read_options(self, values: Mapping[Any, Any]) -> dict[str, Any]:
        """Preset and fields of the config. The style weights are those of the styles there are."""
        shares = [values[share] for style, share in zip(self.styles, self.shares, strict=True) if values[style]]
        options = {name: values[component] for name, component in self.fields.items()}
        return options | {"style_weights": shares if len(shares) > 1 else None}

    def read_job(self, values: Mapping[Any, Any]) -> Job:
        """Config first: what is wrong there is said before a picture is opened."""
        config = self.settings.make_config(**self.read_options(values))
        styles = [values[style] for style in self.styles if values[style]]
        return read_job(values[self.photo], styles, config)

    def _lay_out_settings(self) -> None:
        size = SIZE_ON_CPU_PX if find_device().type == "cpu" else SIZE_ON_GPU_PX
        with gr.Row():
            self.fields["preset"] = fields.dropdown("preset", DEFAULT_PRESET, list(PRESETS), min_width=130)
            self.fields["size"] = fields.slider("size", size, self.settings, step=32, min_width=130)
        self.fields["style_weight"] = fields.radio("style_weight", 1, STYLE_WEIGHTS, elem_id="style-weight")

    def _lay_out_more_styles(self) -> None:
        with gr.Accordion("Mix in more styles", open=False):
            with gr.Row():
                self.styles += [
                    _picture(f"Style {number}", examples.STYLES, height=150) for number in range(2, MAX_STYLES + 1)
                ]
            with gr.Row():
                self.shares = [
                    gr.Slider(0, 1, value=1, step=0.05, label=f"Share of style {number}", min_width=100)
                    for number in range(1, MAX_STYLES + 1)
                ]

    def _lay_out_advanced(self) -> None:
        default = make_config(DEFAULT_PRESET).to_dict()
        components = list(dict.fromkeys([*COMPONENTS, default["components"]]))
        with gr.Accordion("Advanced", open=False):
            with gr.Row():
                self.fields["loss"] = fields.dropdown("loss", default["loss"])
                self.fields["components"] = fields.dropdown(
                    "components",
                    default["components"],
                    components,
                    allow_custom_value=True,
                    interactive="components" in option_names(default["loss"]),
                )
            self.fields["keep_colors"] = fields.dropdown("keep_colors", default["keep_colors"], info=None)
            with gr.Row():
                self.fields["num_steps"] = fields.whole_number(
                    "num_steps", default["num_steps"], self.settings, info=None, min_width=90
                )
                self.fields["init"] = fields.dropdown("init", default["init"], info=None, min_width=150)
                self.fields["seed"] = fields.whole_number("seed", 0, self.settings, info=None, min_width=90)
            self.load = gr.UploadButton("Load settings from a PNG made here", file_types=[".png"], size="sm")

    def _wire(self) -> None:
        recipe = [self.fields[name] for name in RECIPE]
        self.fields["preset"].input(self._show_recipe, self.fields["preset"], recipe, **AT_ONCE)
        self.fields["loss"].change(
            lambda loss: gr.Dropdown(interactive="components" in option_names(loss)),
            self.fields["loss"],
            self.fields["components"],
            **AT_ONCE,
        )
        outputs = [self.photo, *self.styles, *self.shares, *self.fields.values()]
        self.load.upload(self._load_settings, self.load, outputs, preprocess=False, **BESIDE_JOBS)

    def _show_recipe(self, preset: str) -> dict[Any, Any]:
        config = make_config(preset).to_dict()
        return {self.fields[name]: config[name] for name in RECIPE}

    def _load_settings(self, upload: Any) -> dict[Any, Any]:
        """Settings of a saved PNG, as if its link was opened; its pictures too, where they are examples."""
        with friendly_errors():
            saved = SavedSettings.read(uploaded(upload, "PNG"))
            config = StylizeConfig.from_dict(saved.config)
            preset = config.preset if config.preset in PRESETS else DEFAULT_PRESET
            given = {name: getattr(config, name) for name in self.fields if name != "preset"}
            shown = self.settings.make_config(preset, **given)
            controls, settings = self.controls, self.saved_settings(saved)
            values = {controls[name].component: controls[name].read(text) for name, text in settings.items()}
        gr.Info(f"The settings were loaded{_without_control(config, shown)}.")
        return values

    def saved_settings(self, saved: SavedSettings) -> dict[str, str]:
        """The settings inside a PNG as a link has them. Raises an OptionError for what is no config."""
        config = StylizeConfig.from_dict(saved.config).to_dict()
        if config["preset"] not in PRESETS:
            config["preset"] = DEFAULT_PRESET
        texts = dict.fromkeys(self._pictures, "" if saved.sources else OWN_PICTURE)
        named = zip(self._pictures, saved.sources, strict=False)
        texts |= {name: examples.find(source) or OWN_PICTURE for name, source in named}
        weights = config["style_weights"][:MAX_STYLES]  # whose sum is free, but the sliders end at 1
        shares = [weight / max(1, *weights) for weight in weights] + [1] * (MAX_STYLES - len(weights))
        texts |= {name: as_text(share) for name, share in zip(self._shares, shares, strict=True)}
        return texts | {name: as_text(config[name]) for name in self.fields}


def _numbered(name: str, components: list[Any]) -> dict[str, Any]:
    """style, style2, style3."""
    return {f"{name}{number if number > 1 else ''}": each for number, each in enumerate(components, start=1)}


def _without_control(config: StylizeConfig, shown: StylizeConfig) -> str:
    """What the page cannot show, and leaves to the preset."""
    differ = [field for field in config.to_dict() if getattr(config, field) != getattr(shown, field)]
    words = [field.replace("_", " ") for field in differ if field not in ("preset", "style_weights")]
    return f", but not {', '.join(words)}, for which this page has no control" if words else ""


def _picture(label: str, files: Mapping[str, Path], shown: str | None = None, height: int = 200) -> gr.Image:
    """An image input with all example files below to click on."""
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
        with gr.Column(elem_classes="tiles"):
            gr.Examples([[str(file)] for file in files.values()], picture, label="Examples", api_visibility="private")
    return picture

"""Where a result goes, and as what: the options that all commands which save one picture have in common."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any

import typer

from stylecore.errors import OptionError, OutputError, unknown
from stylecore.files import is_one_of
from stylecore.images import ImageTensor, check_output, load_profile, save_image
from stylecore.regions import Mask

PROFILES = ("srgb", "photo")

BitsOption = Annotated[int, typer.Option(help="Bits of a channel: 8, or 16 in a PNG or TIFF.")]
ProfileOption = Annotated[
    str, typer.Option(help="The result's colour space: srgb, or photo, the one that the photo's file has.")
]
OverwriteOption = Annotated[bool, typer.Option("--overwrite", help="The output may be one of the inputs.")]


def check_overwriting(output: Path, inputs: Iterable[object], overwrite: bool) -> None:
    """Refuse to replace what a result is made from, unless that is asked for."""
    if not overwrite and is_one_of(output, inputs):
        raise OutputError(f"The output '{output}' is one of the inputs: name another file, or add --overwrite.")


def check_apart(second: Path, output: Path, inputs: Iterable[object]) -> None:
    """Refuse a second output, such as a film, that would replace the result or what it is made from."""
    if second.resolve() == output.resolve() or is_one_of(second, inputs):
        raise OutputError(f"'{second}' is the result or one of the inputs: name another file for the film.")


@dataclass(frozen=True)
class Output:
    """A picture to be written.

    Raises:
        OutputError, OptionError: when made, where it could not be.
    """

    path: Path
    bits: int = 8
    profile: str = "srgb"

    def __post_init__(self) -> None:
        check_output(self.path, self.bits)
        if self.profile not in PROFILES:
            raise unknown("profile", self.profile, PROFILES)
        if self.profile == "photo" and self.bits > 8:
            raise OptionError("--profile photo converts in 8 bits: leave it out, or --bits 16.")

    def profile_of(self, photo: Any) -> bytes | None:
        """Of a loaded photo, if it is to be kept. Raises an ImageError for one that no result can have."""
        return load_profile(photo) if self.profile == "photo" else None

    def save(
        self, image: ImageTensor, settings: dict[str, Any] | None, alpha: Mask | None, profile: bytes | None
    ) -> None:
        """Write it. Raises an OutputError where that is impossible."""
        save_image(image, self.path, settings, alpha, bits=self.bits, profile=profile)

"""`stylecore blend`: photo and result mixed after the run, at the photo's own resolution."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer

from stylecore.blending import COLORS, MAX_DETAIL, blend
from stylecore.cli.output import BitsOption, Output, OverwriteOption, ProfileOption, check_overwriting
from stylecore.errors import ImageError
from stylecore.images import image_size, load_alpha, read_settings
from stylecore.job import BLENDED_KEY, NUM_MADE_KEY, SavedSettings
from stylecore.regions import resized_mask


def blend_command(
    result: Annotated[Path, typer.Argument(metavar="RESULT", help="A picture that stylecore saved.")],
    photo: Annotated[
        Path | None, typer.Argument(metavar="PHOTO", help="Its photo (default: the one that it was made from).")
    ] = None,
    output: Annotated[Path, typer.Option("--output", "-o", help="The picture to write.")] = Path("blended.png"),
    strength: Annotated[float, typer.Option(help="From 0, the photo, to 1, the painting.")] = 1.0,
    colors: Annotated[str, typer.Option(help=f"Whose colours: {', '.join(COLORS)}.")] = "style",
    detail: Annotated[
        float,
        typer.Option(help=f"The photo's detail that is finer than the result's pixels, 0 to {MAX_DETAIL:g} times."),
    ] = 1.0,
    bits: BitsOption = 8,
    profile: ProfileOption = "srgb",
    overwrite: OverwriteOption = False,
) -> None:
    """Mix RESULT with its photo, as large as the photo, without painting again."""
    saved_as = Output(output, bits, profile)
    photo = photo or SavedSettings.read(result).find_photo()
    check_overwriting(output, [result, photo], overwrite)
    image = blend(photo, result, strength, colors, detail)
    alpha = load_alpha(photo) if load_alpha(result) is not None else None
    alpha = None if alpha is None else resized_mask(alpha, image_size(image))
    settings = _settings(result, strength=strength, colors=colors, detail=detail)
    saved_as.save(image, settings, alpha, saved_as.profile_of(photo))
    height, width = image_size(image)
    print(f"{output}: {width}x{height} px, strength {strength:g}, colours of {colors}, detail {detail:g}.")


def _settings(result: Path, **values: Any) -> dict[str, Any] | None:
    """Those of the result, if any, and how it was blended."""
    try:
        settings = read_settings(result)
    except ImageError:
        return None
    settings.pop(NUM_MADE_KEY, None)  # --resume goes on from a painting, which a blend is not
    return settings | {BLENDED_KEY: values}

"""`stylecore video`: a clip painted frame by frame into another, which goes on where it was stopped."""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.progress import track

from stylecore.cli.console import InterruptedRunError, downloading, messages
from stylecore.cli.output import OverwriteOption, check_overwriting
from stylecore.cli.recipe import Recipe, takes_recipe
from stylecore.clips import ENCODERS, Clip, encoder_of, write_clip
from stylecore.engine import prepare_encoder
from stylecore.errors import OptionError, OutputError
from stylecore.files import check_writable, checksum, is_folder, reason, replacing, write_json
from stylecore.flow import check_installed
from stylecore.images import load_image, load_images, save_image, to_uint8
from stylecore.presets import make_config
from stylecore.video import stylize_frames

JOB = "job.json"


@dataclass(frozen=True)
class _Frames:
    """The folder of frames that are painted already, beside the video to be."""

    folder: Path

    def prepare(self, job: dict[str, Any]) -> None:
        """Raises an OutputError where the folder is another job's, or cannot be made."""
        record = self.folder / JOB
        if is_folder(self.folder):
            if not record.is_file() or json.loads(record.read_text(encoding="utf-8")) != job:
                raise OutputError(f"'{self.folder}' holds frames of another run: delete it, or name another output.")
            return
        try:
            self.folder.mkdir()
        except OSError as error:
            raise OutputError(f"The folder '{self.folder}' cannot be made: {reason(error)}.") from error
        write_json(record, job)

    def path(self, number: int) -> Path:
        return self.folder / f"{number:06}.png"

    def made(self) -> list[Path]:
        """From the first on, without a gap."""
        paths: list[Path] = []
        while self.path(len(paths)).is_file():
            paths.append(self.path(len(paths)))
        return paths


@takes_recipe
def video_command(
    recipe: Recipe,
    clip: Annotated[Path, typer.Argument(metavar="VIDEO", help="The video.")],
    styles: Annotated[list[str], typer.Argument(metavar="STYLE...", help="One or more pictures.")],
    output: Annotated[
        Path, typer.Option("--output", "-o", help="The video to write: .webm, or .mp4 where FFmpeg has an encoder.")
    ] = Path("stylized.webm"),
    overwrite: OverwriteOption = False,
) -> None:
    """Paint VIDEO in the manner of STYLE without flicker. Run again, it goes on where it was stopped."""
    check_writable(output, *ENCODERS)
    encoder_of(output)
    check_installed()
    check_overwriting(output, [clip, *styles], overwrite)
    config = make_config(**recipe.options())
    pictures = load_images(styles)
    source = Clip.scan(clip)
    first = load_image(next(source.frames()))
    frames = _Frames(output.with_name(output.name + ".frames"))
    frames.prepare(
        {
            "config": config.to_dict(),
            "styles": [checksum(to_uint8(picture).tobytes()) for picture in pictures],
            "video": [len(source.times), checksum(to_uint8(first).tobytes())],
        }
    )
    with downloading() as bar:
        encoder = prepare_encoder(config, recipe.weights_file, bar)
    made = frames.made()
    painted = stylize_frames(
        map(load_image, source.frames()), pictures, config, made=map(load_image, made), encoder=encoder
    )
    try:
        left = len(source.times) - len(made)
        for number, image in enumerate(track(painted, "painting", left, console=messages, transient=True), len(made)):
            save_image(image, frames.path(number))
    except KeyboardInterrupt:
        raise InterruptedRunError(
            f"Stopped after {len(frames.made())} of {len(source.times)} frames: the same command goes on from there."
        ) from None
    _write(output, source, frames.made())
    shutil.rmtree(frames.folder)
    print(f"{output}: {len(source.times)} frames, {'with' if source.has_audio else 'without'} sound.")


def _write(output: Path, source: Clip, paths: list[Path]) -> None:
    if len(paths) != len(source.times):
        raise OptionError(f"'{source.path}' has changed while it was painted: run the command again.")
    pixels: Iterator[Any] = (to_uint8(load_image(path)) for path in paths)
    try:
        with replacing(output) as file:
            write_clip(file, output, zip(source.times, pixels, strict=True), source.path if source.has_audio else None)
    except OSError as error:
        raise OutputError(f"The video '{output}' could not be written: {reason(error)}.") from error

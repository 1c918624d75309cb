"""The endpoints for programs: `gradio_client`, plain HTTP, MCP."""

from typing import Any

import gradio as gr

from demo.jobs import Frame, read_config
from demo.serving import friendly_errors, save_result, start_job
from stylecore.presets import DEFAULT_PRESET


# Gradio takes the annotation of the result for what each yield holds.
def stylize(  # type: ignore[misc]
    content: gr.FileData,
    style: gr.FileData,
    preset: str = DEFAULT_PRESET,
    size: int = 256,
    style_weight: float = 1.0,
    seed: int = 0,
    num_steps: int | None = None,
) -> tuple[gr.FileData, dict[str, Any]]:
    """Paint a photo in the manner of a style picture: a PNG with its settings inside, and a record.

    While the job runs, the record alone is sent; cancel the request to stop it.

    Args:
        content: the photo.
        style: the picture whose manner it gets.
        preset: the recipe.
        size: longer side of the result, px.
        style_weight: multiplies the preset's style term.
        seed: of the noise, where the preset starts from noise.
        num_steps: evaluations of the loss; null: the preset's.
    """
    with friendly_errors():
        config = read_config(preset, size=size, style_weight=style_weight, seed=seed, num_steps=num_steps)
        for frame in start_job(content, style, config):
            yield None, _record(frame)
        yield gr.FileData(path=save_result(frame)).model_dump(), _record(frame)


def _record(frame: Frame) -> dict[str, Any]:
    return {
        "num_steps": frame.step,
        "seconds": round(frame.seconds, 3),
        "trouble": frame.trouble,
        "config": frame.config.to_dict(),
    }

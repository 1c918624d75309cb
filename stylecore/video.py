"""A video, painted frame by frame: each begins with the last result, carried along by the flow between the two, and is
held to it where the flow can be believed (Ruder, Dosovitskiy and Brox 2016, "Artistic Style Transfer for Videos").
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence

import torch
import torch.nn.functional as F

from stylecore import flow
from stylecore.config import Stage, StylizeConfig
from stylecore.encoders import Encoder
from stylecore.engine import job_steps, prepare_encoder, run_to_end
from stylecore.images import ImageTensor, fit_image, image_size, quantize
from stylecore.job import Job
from stylecore.schedule import plan_stages
from stylecore.start import initial_image, job_images
from stylecore.temporal import Anchor

TEMPORAL_WEIGHT = 100.0  # of the mean square in [0, 1]; by eye: at 20 colours drift within a dozen frames
SEAM_PX = 7  # over which a start goes from what was carried along to what is new


def stylize_frames(
    frames: Iterable[ImageTensor],
    styles: Sequence[ImageTensor],
    config: StylizeConfig,
    *,
    made: Iterable[ImageTensor] = (),
    encoder: Encoder | None = None,
) -> Iterator[ImageTensor]:
    """The results of a video's frames, one by one; abandon it to stop.

    Args:
        frames: (1, 3, H, W) in [0, 1], of one size, in their order.
        styles: (1, 3, H_i, W_i) in [0, 1].
        config: how the first frame is painted; the others take the evaluations of its last stage.
        made: results of the first frames, from an earlier run; they are not painted or yielded again.
        encoder: a loaded one; default: as the config says.

    Raises:
        OptionError: the extra `video` is not installed, or whatever `job_steps` raises.
    """
    flow.check_installed()
    encoder = encoder or prepare_encoder(config)
    earlier = iter(made)
    last: tuple[ImageTensor, ImageTensor] | None = None  # a frame and its result
    for frame in frames:
        small = fit_image(frame, config.size)
        result = next(earlier, None)
        if result is None:
            job = Job(frame, tuple(styles), config)
            result = _first(job, encoder) if last is None else _next(job, small, *last, encoder)
            yield result
        last = small, result


def _first(job: Job, encoder: Encoder) -> ImageTensor:
    return quantize(run_to_end(job, job_steps(job, encoder=encoder)).image)


def _next(
    job: Job, frame: ImageTensor, last_frame: ImageTensor, last_result: ImageTensor, encoder: Encoder
) -> ImageTensor:
    """Frames and result are of one size. The paper paints each frame until it has converged; here it gets what a last
    stage gets, as it begins with strokes that are there already. What was not to be seen before begins as a first frame
    does: too few evaluations are left to make it of what the flow drags there."""
    back, forth = flow.optical_flow(frame, last_frame), flow.optical_flow(last_frame, frame)
    carried = flow.warp(last_result, back, "bicubic").clamp(0, 1)
    where = flow.certainty(back, forth) * flow.agreement(frame, flow.warp(last_frame, back))
    anchor = Anchor(carried, where, TEMPORAL_WEIGHT)
    anew = initial_image(job_images(job), job.config, image_size(frame))
    start = torch.lerp(anew, carried, where * F.avg_pool2d(where, SEAM_PX, 1, SEAM_PX // 2, count_include_pad=False))
    last_stage = plan_stages(job.config, image_size(frame))[-1]
    job = job.with_config(job.config.replace(stages=(Stage(1, 1),), num_steps=last_stage.num_steps))
    return quantize(run_to_end(job, job_steps(job, encoder=encoder, start=start, anchor=anchor)).image)

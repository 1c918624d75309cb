"""How things move from one frame to the next: dense optical flow, what it carries along, and where it can be believed.

Flow is DIS of the extra `video`'s OpenCV (Kroeger et al. 2016, "Fast Optical Flow using Dense Inverse Search").
"""

from __future__ import annotations

from importlib import import_module
from importlib.util import find_spec

import numpy as np
import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor

from stylecore.color import luminance
from stylecore.errors import OptionError
from stylecore.images import ImageTensor, image_size

Flow = Float[Tensor, "1 2 H W"]  # px to the right, px down
Certainty = Float[Tensor, "1 1 H W"]  # 0 or 1
MAX_DIFFERENCE = 0.06  # of a channel in [0, 1], by what light and noise change from frame to frame


def is_installed() -> bool:
    """Whether the extra's OpenCV is here."""
    return find_spec("cv2") is not None


def check_installed() -> None:
    """Raise an OptionError if the extra is not here."""
    if not is_installed():
        raise OptionError("A video takes OpenCV's optical flow: pip install 'stylecore[video]'.")


def optical_flow(image: ImageTensor, other: ImageTensor) -> Flow:
    """Where each place of `image` lies in `other`, of the same size."""
    cv2 = import_module("cv2")  # whose stubs lack what it makes
    dis = cv2.DISOpticalFlow_create(cv2.DISOPTICAL_FLOW_PRESET_MEDIUM)
    flow = dis.calc(_grey(image), _grey(other), None)
    return torch.from_numpy(np.ascontiguousarray(flow)).permute(2, 0, 1)[None].contiguous()


def _grey(image: ImageTensor) -> np.ndarray:
    return luminance(image)[0, 0].clamp(0, 1).mul(255).round().to(torch.uint8).numpy()


def warp(values: Float[Tensor, "1 C H W"], flow: Flow, mode: str = "bilinear") -> Float[Tensor, "1 C H W"]:
    """At each place what `values` has where the flow leads, interpolated as `mode` says (`bicubic` blurs less, and may
    leave the range of the values); beyond the edges, mirrored."""
    (height, width), (across, down) = flow.shape[2:], _places(flow)
    grid = torch.stack([(across + 0.5) / width, (down + 0.5) / height], 3) * 2 - 1
    return F.grid_sample(values, grid.to(values.dtype), mode=mode, padding_mode="reflection", align_corners=False)


def certainty(flow: Flow, back: Flow) -> Certainty:
    """1 where a flow can be believed: it and the flow back lead to the same place, inside the picture, and not across
    an edge of motion (Ruder, Dosovitskiy and Brox 2016, "Artistic Style Transfer for Videos", section 4.2).

    Args:
        flow: from the frame in question to the other.
        back: from the other frame to it.
    """
    returned = warp(back, flow)
    lengths = _squares(returned) + _squares(flow)
    is_seen = _squares(returned + flow) <= 0.01 * lengths + 0.5
    down, across = (flow.diff(dim=dim, append=flow.narrow(dim, flow.shape[dim] - 1, 1)) for dim in (2, 3))
    is_smooth = _squares(down) + _squares(across) <= 0.01 * _squares(flow) + 0.002
    return (is_seen & is_smooth & _is_inside(flow)).float()


def agreement(image: ImageTensor, carried: ImageTensor) -> Certainty:
    """1 where `carried`, the other picture as `flow` carries it here, looks like `image`, all around too: in plain
    surfaces a flow is dragged along by what moves before them, smoothly and both ways, so that `certainty` believes it.
    """
    differs = (image - carried).abs().amax(1, keepdim=True) > MAX_DIFFERENCE
    return 1 - F.max_pool2d(differs.float(), 3, 1, 1)


def _squares(flow: Flow) -> Float[Tensor, "1 1 H W"]:
    return flow.square().sum(1, keepdim=True)


def _places(flow: Flow) -> tuple[Float[Tensor, "1 H W"], Float[Tensor, "1 H W"]]:
    """Where it leads, in px from the left and from the top."""
    y, x = torch.meshgrid(*map(torch.arange, flow.shape[2:]), indexing="ij")
    return x + flow[:, 0], y + flow[:, 1]


def _is_inside(flow: Flow) -> Tensor:
    (height, width), (across, down) = flow.shape[2:], _places(flow)
    return ((across >= 0) & (across <= width - 1) & (down >= 0) & (down <= height - 1)).unsqueeze(1)


def warping_error(image: ImageTensor, earlier: ImageTensor, flow: Flow, where: Certainty) -> float:
    """How much a frame flickers: the root of the mean square of what it differs from the earlier one, carried along, in
    [0, 1] (Lai et al. 2018, "Learning Blind Video Temporal Consistency", section 4.2)."""
    assert image_size(image) == image_size(earlier)
    squares = (image - warp(earlier, flow)).square().mean(1, keepdim=True)
    return float(((squares * where).sum() / where.sum().clamp_min(1)).sqrt())

"""Values in eight bits inside a float32 graph: QuantizeLinear and DequantizeLinear in a file, the same in torch.

A runtime that knows such pairs multiplies the bytes themselves, as onnxruntime does on CPUs; any other computes the
same in float32.
"""

from __future__ import annotations

import torch
from jaxtyping import Float, Integer
from torch import Tensor

UNSIGNED, SIGNED = 0, 128  # the byte that stands for 0: of values after ReLU, and of those with both signs
LARGEST = 255
SMALLEST_STEP = 1e-30


def step_of(largest: float, zero: int) -> float:
    """Between two bytes, if `largest` is the largest magnitude that has one."""
    return max(largest / (LARGEST - zero), SMALLEST_STEP)


def rounded(values: Float[Tensor, "*shape"], step: Float[Tensor, ""], zero: int) -> Float[Tensor, "*shape"]:
    """The nearest of the 256 multiples of `step` from -zero on."""
    point = torch.tensor(zero, dtype=torch.uint8)
    if torch.onnx.is_in_onnx_export():
        stored = torch.onnx.ops.symbolic("QuantizeLinear", (values, step, point), dtype=torch.uint8, shape=values.shape)
        return _dequantized(stored, step, point)
    return _rounded(values, step, point)


def rounded_to_own_range(
    values: Float[Tensor, "*shape"],
) -> tuple[Float[Tensor, "*shape"], Float[Tensor, ""]]:
    """The nearest of 256 values that reach from the smallest to the largest and have 0 among them, and their step."""
    if torch.onnx.is_in_onnx_export():
        stored, step, zero = torch.onnx.ops.symbolic_multi_out(
            "DynamicQuantizeLinear",
            (values,),
            dtypes=(torch.uint8, torch.float32, torch.uint8),
            shapes=(values.shape, (), ()),
        )
        return _dequantized(stored, step, zero), step
    low, high = values.amin().clamp_max(0), values.amax().clamp_min(0)
    step = ((high - low) / LARGEST).clamp_min(SMALLEST_STEP)
    return _rounded(values, step, (-low / step).round()), step


def unpacked(
    weight: Integer[Tensor, " N *sides"], steps: Float[Tensor, " N"] | Float[Tensor, ""]
) -> Float[Tensor, " N *sides"]:
    """Whole numbers times the step of each row, or of all."""
    if torch.onnx.is_in_onnx_export():
        return _dequantized(weight, steps)
    return weight.float() * steps.view(-1, *(1,) * (weight.ndim - 1))


def _rounded(values: Tensor, step: Tensor, zero: Tensor) -> Tensor:
    return ((values / step).round() + zero).clamp(0, LARGEST).sub(zero) * step


def _dequantized(stored: Integer[Tensor, "*shape"], *how: Tensor) -> Float[Tensor, "*shape"]:
    return torch.onnx.ops.symbolic(
        "DequantizeLinear", (stored, *how), {"axis": 0}, dtype=torch.float32, shape=stored.shape
    )

"""Stand-ins for a GPU on any machine: `Watch` for where it would have to be waited for, `Tape` for a CUDA graph."""

import sys
from collections import Counter
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves, tree_map

# Whoever is at work, innermost first, by the name of the function.
PLACES = {"check": "guard", "refresh": "refresh", "make_one": "loop"}
READ_BACK = {"_local_scalar_dense", "equal", "nonzero", "masked_select", "_unique2", "is_nonzero"}


class Watch(TorchDispatchMode):
    """Counts, by place, what an accelerator would be waited for, and tensors of the host among its operands.

    On torch's `meta` device, which has shapes and no values: whoever reads one gets False, 1 or a tensor of halves.
    """

    def __init__(self) -> None:
        super().__init__()
        self.read_backs: Counter[str] = Counter()  # by place: "setup" before and between the loops
        self.on_host: Counter[str] = Counter()  # by place and operation

    def __torch_dispatch__(self, function: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        operands = [value for value in tree_leaves((args, kwargs)) if isinstance(value, Tensor)]
        name, place = function._schema.name.removeprefix("aten::"), _place()
        if any(operand.is_meta for operand in operands):
            if name in READ_BACK:
                self.read_backs[place] += 1
                return False if operands[0].dtype == torch.bool else operands[0].new_ones((), device="cpu").item()
            if name in ("_to_copy", "copy_") and "cpu" in (str((kwargs or {}).get("device")), str(operands[0].device)):
                self.read_backs[place] += 1
                return torch.full(operands[-1].shape, 0.5, dtype=(kwargs or {}).get("dtype") or operands[-1].dtype)
        made = function(*args, **(kwargs or {}))
        touched = operands + [value for value in tree_leaves(made) if isinstance(value, Tensor)]
        if any(not value.is_meta for value in touched):
            self.on_host[f"{place}: {name}"] += 1
        return made

    def on_host_in(self, place: str) -> list[str]:
        """Operations with a tensor of the host at that place."""
        return [operation for operation in self.on_host if operation.startswith(f"{place}:")]


def _place() -> str:
    frame: Any = sys._getframe(2)
    while frame is not None:
        if frame.f_code.co_name in PLACES and "stylecore" in frame.f_code.co_filename:
            return PLACES[frame.f_code.co_name]
        frame = frame.f_back
    return "setup"


class Tape(TorchDispatchMode):
    """Every operation with its tensors, to be done again on the same tensors: a CUDA graph, as far as a CPU has one.

    As a graph it knows nothing of the Python around the operations, and replays what the host decided in the capture.
    """

    def __init__(self) -> None:
        super().__init__()
        self.operations: list[tuple[Any, Any, Any, Any]] = []
        self.before: dict[int, tuple[Tensor, Tensor]] = {}  # what is changed in place, as it was

    def __torch_dispatch__(self, function: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        assert not function._schema.name.endswith("_local_scalar_dense"), "a graph cannot be asked for a value"
        arguments = zip(function._schema.arguments, args, strict=False)
        for argument, value in arguments:
            if argument.alias_info is not None and argument.alias_info.is_write:
                self.before.setdefault(value.data_ptr(), (value, value.clone()))
        made = function(*args, **(kwargs or {}))
        self.operations.append((function, args, kwargs or {}, made))
        return made

    def rewind(self) -> None:
        """A capture computes nothing."""
        for value, before in self.before.values():
            _overwrite(value, before)

    def replay(self) -> None:
        with torch.no_grad():
            for function, args, kwargs, made in self.operations:
                again = function(*args, **kwargs)
                tree_map(_overwrite, made, again)


def _overwrite(old: Any, new: Any) -> None:
    """Unless it is a view of the same memory; squeeze_ and its like may have changed the old one's shape."""
    if isinstance(old, Tensor) and old.data_ptr() != new.data_ptr():
        old.copy_(new.reshape(old.shape))


def capture_on_tape(function: Callable[[], Tensor], device: torch.device) -> tuple[Callable[[], None], Tensor]:  # noqa: ARG001
    """`stylecore.loop.capture`, on a CPU."""
    with Tape() as tape:
        result = function()
    tape.rewind()
    return tape.replay, result

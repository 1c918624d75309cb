"""What visitors have painted over their photos within the last hour: masks, by the checksums that settings name."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch

from stylecore.errors import ImageError, OptionError
from stylecore.images import fit_size, image_size, load_alpha, load_image, save_image
from stylecore.job import Source
from stylecore.regions import Mask, MaskImage, resized_mask

from .folders import new_file
from .uploads import is_there, uploaded

MASK_PX = 512  # longer side at most: a mask is smooth, and is resized to the result
MAX_PAINTINGS = 2000  # some kilobytes each, on the disk
LEAST_SHARE = 1e-3  # of the photo, to be taken for more than a slip
GONE = "This painting is gone: the server keeps paintings for an hour. Paint it again."


class Paintings:
    """Masks of this server, as PNGs that are deleted after an hour as all that visitors bring."""

    def __init__(self) -> None:
        self._paths: OrderedDict[str, Path] = OrderedDict()

    def add(self, layers: Sequence[Any]) -> str:
        """Make a mask of what was painted, and return its checksum.

        Args:
            layers: uploads of transparent pictures of one size.

        Raises:
            ImageError: nothing was painted, or a layer is no uploaded picture within the limits.
        """
        masks = [mask for layer in layers if (mask := _painted(layer)) is not None]
        if not masks or len({mask.shape for mask in masks}) > 1:
            raise ImageError("Nothing is painted yet: brush over the photo first.")
        mask = torch.stack(masks).amax(0)
        if float(mask.mean()) < LEAST_SHARE:
            raise ImageError("Hardly anything is painted yet: brush over a larger part of the photo.")
        size = image_size(mask.expand(-1, 3, -1, -1))
        small = resized_mask(mask, fit_size(size, min(MASK_PX, max(size)))).expand(-1, 3, -1, -1)
        path = save_image(small, new_file("mask.png"))
        checksum = Source.of(load_image(path)).checksum
        self._paths[checksum] = path
        while len(self._paths) > MAX_PAINTINGS:
            self._paths.popitem(last=False)
        return checksum

    def path(self, checksum: str) -> Path:
        """The PNG. Raises an OptionError if it is gone."""
        path = self._paths.get(checksum)
        if path is None or not is_there(str(path)):
            raise OptionError(GONE)
        return path

    def mask(self, checksum: str) -> MaskImage:
        """It, loaded. Raises an OptionError if it is gone."""
        return MaskImage(load_image(self.path(checksum)), "mask.png")


def _painted(layer: Any) -> Mask | None:
    """Where a layer is not transparent: 1 where the brush was, whatever its own opacity; None: nowhere."""
    data = uploaded(layer, "painting").read_bytes()
    load_image(data)  # raises, by the header, what is too large to be decoded
    alpha = load_alpha(data)
    return None if alpha is None or not float(alpha.amax()) else alpha / alpha.amax()

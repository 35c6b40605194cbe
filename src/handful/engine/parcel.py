"""Many small arrays in one piece, so that a step sends its device one thing.

    layout    offset, shape and type of each array        bytes    array | array | array | ...

The layout stays on the host: what came in one piece is looked at in place, array by array.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

ALIGNMENT = 16  # of any array's first byte

_TYPES = {"int64": torch.int64, "int32": torch.int32, "float32": torch.float32}


@dataclass(frozen=True, slots=True)
class Place:
    """Where an array lies."""

    offset: int
    shape: tuple[int, ...]
    dtype: str


def pack(arrays: Sequence[NDArray[Any]]) -> tuple[tuple[Place, ...], NDArray[np.uint8]]:
    """The arrays' layout, and their bytes one behind the other."""
    places, pieces, offset = [], [], 0
    for array in arrays:
        places.append(Place(offset, array.shape, array.dtype.name))
        piece = np.ascontiguousarray(array).reshape(-1).view(np.uint8)
        pieces += [piece, np.zeros(-len(piece) % ALIGNMENT, dtype=np.uint8)]
        offset += len(piece) + len(pieces[-1])
    return tuple(places), np.concatenate(pieces)


def unpack(places: Sequence[Place], data: Tensor) -> list[Tensor]:
    """The arrays in `data` `[bytes]` uint8 as tensors that share its memory."""
    return [_at(place, data) for place in places]


def _at(place: Place, data: Tensor) -> Tensor:
    dtype = _TYPES[place.dtype]
    num_bytes = int(np.prod(place.shape, dtype=np.int64)) * dtype.itemsize
    return data[place.offset : place.offset + num_bytes].view(dtype).view(place.shape)

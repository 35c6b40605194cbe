"""Weights on their way to bytes: evened and rounded, by row."""

import ctypes

import torch
import torch.nn.functional as F
from torch import Tensor

from handful.model.ops.directions import NUM_DIRECTIONS
from handful.model.ops.native.linear import fits_rotation
from handful.model.ops.native.loading import needed_library
from handful.model.ops.native.threads import num_threads

_TYPES = {torch.float32: 0, torch.bfloat16: 1}


class _Quantising(ctypes.Structure):
    """`Quantising` of linear.h."""

    _fields_ = (
        *((name, ctypes.c_void_p) for name in ("rows", "factors", "directions", "bytes", "scales", "sums")),
        *((name, ctypes.c_int64) for name in ("num_out", "num_in")),
        *((name, ctypes.c_int32) for name in ("type", "rotation", "threads", "features")),
    )


def quantise_rows(
    weight: Tensor, factors: Tensor | None, rotation: int = 0, directions: Tensor | None = None
) -> tuple[Tensor, Tensor, Tensor]:
    """Rows `[out, in]`, column i times factors[i], then mixed in blocks: int8 `[out, in]`, scales float32 and sums
    int32 `[out]`.

    The same bits as `quantise_symmetric` behind `mix` of linear_int8.py, over the blocks' size; but for `directions`
    `[in, 16]`, along which a row's errors are made to cancel out (linear_rounding.h).
    """
    weight = weight.contiguous() if weight.dtype in _TYPES else weight.float().contiguous()
    num_out, num_in = weight.shape
    if rotation and not fits_rotation(num_in, rotation):
        raise ValueError(f"{num_in} columns can't be mixed in blocks of {rotation}")
    kept = _checked("factors", factors, (num_in,))
    along = _checked("directions", directions, (num_in, NUM_DIRECTIONS))
    padded = None if along is None else F.pad(along, (0, 0, 0, -num_in % 16))
    bytes_, scales = torch.empty((num_out, num_in), dtype=torch.int8), torch.empty(num_out)
    found = (bytes_, scales, torch.empty(num_out, dtype=torch.int32))
    pointers = (None if x is None else x.data_ptr() for x in (weight, kept, padded, *found))
    native = needed_library()
    how = (_TYPES[weight.dtype], rotation, num_threads(), native.features)
    native.functions.handful_quantise(ctypes.byref(_Quantising(*pointers, num_out, num_in, *how)))
    return found


def _checked(name: str, given: Tensor | None, shape: tuple[int, ...]) -> Tensor | None:
    """As float32 without gaps."""
    if given is not None and given.shape != shape:
        raise ValueError(f"{name} must be of {list(shape)}, not {list(given.shape)}")
    return None if given is None else given.float().contiguous()

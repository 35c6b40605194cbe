"""The native rotation behind checked Python: heads are turned where they lie."""

import ctypes
from collections.abc import Callable

import torch
from torch import Tensor

from handful.model.ops.native.loading import AVX2, AVX512, address_of, library
from handful.model.ops.native.threads import num_threads

_TYPES = {torch.float32: 0, torch.bfloat16: 1}


class _Call(ctypes.Structure):
    """`Rotation` of rotation.h."""

    _fields_ = (
        *((name, ctypes.c_void_p) for name in ("x", "cos", "sin")),
        *((name, ctypes.c_int64) for name in ("rows", "stride", "heads", "head_dim", "dims")),
        *((name, ctypes.c_int32) for name in ("type", "threads")),
    )


def can_rotate(x: Tensor) -> bool:
    """Whether `rotate_heads` takes heads of this type and place."""
    return x.is_cpu and x.dtype in _TYPES and _function() is not None


def rotate_heads(x: Tensor, cos: Tensor, sin: Tensor, dims: int) -> None:
    """Turn heads `[N, H, D]`, rows any distance apart, in place; cos and signed sin `[N, 1, D]` of the same type."""
    (rows, heads, head_dim), function = x.shape, _function()
    if function is None or x.dtype not in _TYPES or (rows and not x[0].is_contiguous()):
        raise ValueError(
            "the heads of a row must lie behind one another, in float32 or bfloat16; ask can_rotate() first"
        )
    for table in (cos, sin):
        if table.shape != (rows, 1, head_dim) or table.dtype != x.dtype or not table.is_contiguous():
            raise ValueError(f"cos and sin must be [{rows}, 1, {head_dim}] {x.dtype} without gaps, not {table.shape}")
    if dims % 2 or not 0 < dims <= head_dim:
        raise ValueError(f"an even number of a head's {head_dim} dimensions is turned, not {dims}")
    pointers = (x.data_ptr(), cos.data_ptr(), sin.data_ptr())
    sizes = (rows, x.stride(0), heads, head_dim, dims)
    function(ctypes.byref(_Call(*pointers, *sizes, _TYPES[x.dtype], num_threads())))


def rotate_address() -> int | None:
    """Where the function lies, for a kernel that calls it; None where there is none."""
    function = _function()
    return None if function is None else address_of(function)


def _function() -> Callable[..., None] | None:
    found = library()
    if found is None or not (found.has(AVX512) or found.has(AVX2)):
        return None
    level = "avx512" if found.has(AVX512) else "avx2"
    function: Callable[..., None] = getattr(found.functions, f"handful_rotate_{level}")
    return function

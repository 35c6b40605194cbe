"""The native products behind checked Python: activations in, finished results out.

int8 runs on AMX, AVX-512 VNNI, AVX-VNNI or AVX2, bfloat16 on AMX or AVX-512 BF16. Dtypes, shapes and contiguity are
checked before a pointer leaves Python: a wrong tensor is an error of this program (ValueError), never a read beyond it.
"""

import ctypes
from dataclasses import dataclass
from functools import cache

import torch
from torch import Tensor

from handful.model.ops.native.loading import AMX, AVX2, AVX512, AVX512_BF16, library
from handful.model.ops.native.threads import num_threads
from handful.model.ops.norm import Normalise

PANEL = 32
DEPTH = 64
MAX_DEPTH = 65_536  # 255 * 127 * 65,536 still fits into 32 bits
ZERO_BYTE = 128  # of activations without a sign, which is what VNNI multiplies
TILE_ROWS = 16

_ACTIVATIONS = {None: 0, "gelu": 1, "gelu_tanh": 2, "relu": 3, "silu": 4}
_NORMS = {"layer": 1, "rms": 2}
_TYPES = {torch.float32: 0, torch.bfloat16: 1}
_WEIGHT_TYPES = {torch.bfloat16: 1, torch.int8: 2}


class _Layer(ctypes.Structure):
    """`Layer` of linear.h."""

    _fields_ = (
        *((name, ctypes.c_void_p) for name in ("panels", "scales", "offsets", "bias", "norm_weight", "norm_bias")),
        *((name, ctypes.c_int64) for name in ("num_in", "padded_in", "num_out")),
        *((name, ctypes.c_int32) for name in ("type", "activation", "gated", "norm", "rotation")),
        ("norm_eps", ctypes.c_float),
    )


class _Call(ctypes.Structure):
    """`LinearCall` of linear.h."""

    _fields_ = (
        *((name, ctypes.c_void_p) for name in ("x", "residual", "out", "packed", "scales")),
        *((name, ctypes.c_int64) for name in ("rows", "stride")),
        *((name, ctypes.c_int32) for name in ("type", "out_type", "threads", "features")),
    )


@dataclass(frozen=True, slots=True, eq=False)
class PackedWeights:
    """A layer's weights in the order of the kernels, and what is fused to its product.

    panels    `[P, padded in / n, 32, n]`: int8 with n = 4, or bfloat16 with n = 2 (32 bits of a column together)
    scales    `[32 P]` float32, of the weight's rows (int8); bias `[32 P]` float32
    offsets   `[32 P]` int32: -128 times the row's sum (int8)
    num_in    columns of x; num_out columns of the result (gated: half of the product's)
    rotation  size of the blocks of x that a Hadamard matrix mixes behind the norm, as it did the weight's (int8); or 0
    """

    panels: Tensor
    scales: Tensor
    offsets: Tensor
    bias: Tensor
    num_in: int
    num_out: int
    activation: str | None
    gated: bool
    norm: Normalise | None
    rotation: int = 0

    @property
    def is_finite(self) -> bool:
        """Whether no column's results can be anything but numbers where x are numbers."""
        return bool(self.scales.isfinite().all() and self.bias.isfinite().all())


class NativeProduct:
    """A packed layer that was checked once, and its product. `tiles=False` keeps to AVX-512."""

    def __init__(self, weights: PackedWeights, *, tiles: bool = True) -> None:
        check(weights)
        found = library()
        if found is None or not can_multiply(weights.panels.dtype):
            raise RuntimeError("the native kernels aren't there: ask can_multiply() first")
        _declare(found.functions)
        self._function = found.functions.handful_linear
        self.num_in, self.num_out = weights.num_in, weights.num_out
        self.padded_in = weights.panels.shape[1] * weights.panels.shape[3]
        self.features = found.features if tiles else found.features & ~AMX
        self.row_bytes = self.padded_in * weights.panels.dtype.itemsize
        norm_weight, norm_bias = _padded_norm(weights.norm, self.padded_in)
        self.weights = weights
        self._kept = (weights, norm_weight, norm_bias)  # the memory that `_layer` points to
        arrays = (weights.panels, weights.scales, weights.offsets, weights.bias, norm_weight, norm_bias)
        self._layer = _Layer(
            *(array.data_ptr() for array in arrays),
            weights.num_in,
            self.padded_in,
            weights.num_out,
            _WEIGHT_TYPES[weights.panels.dtype],
            _ACTIVATIONS[weights.activation],
            int(weights.gated),
            0 if weights.norm is None else _NORMS[weights.norm.kind],
            weights.rotation,
            0.0 if weights.norm is None else weights.norm.eps,
        )
        self.address = ctypes.addressof(self._layer)

    def linear(self, x: Tensor, residual: Tensor | None = None, *, dtype: torch.dtype | None = None) -> Tensor:
        """x `[N, in]` in float32 or bfloat16 -> `[N, out]` in `dtype` (x's, if None), added to `residual`."""
        x = self._checked_input(x)
        out = self._output(x.shape[0], dtype or x.dtype, residual)
        call, _room = self.prepare(x, out, residual)
        self._function(self.address, ctypes.addressof(call))
        return out

    def prepare(self, x: Tensor, out: Tensor, residual: Tensor | None = None) -> tuple[_Call, tuple[Tensor, ...]]:
        """A call with x `[N, in]` for `out` `[N, out]`, and the memory that it needs as long as it runs."""
        x = self._checked_input(x)
        rows = -(-x.shape[0] // TILE_ROWS) * TILE_ROWS
        packed = torch.empty(rows * self.row_bytes, dtype=torch.uint8)
        scales = torch.empty(rows)
        call = _Call(
            x.data_ptr(),
            None if residual is None else residual.data_ptr(),
            out.data_ptr(),
            packed.data_ptr(),
            scales.data_ptr(),
            x.shape[0],
            x.stride(0) * x.dtype.itemsize,
            _TYPES[x.dtype],
            _TYPES[out.dtype],
            num_threads(),
            self.features,
        )
        return call, (x, packed, scales)

    def _checked_input(self, x: Tensor) -> Tensor:
        if x.dtype not in _TYPES or x.dim() != 2 or x.shape[1] != self.num_in or x.device.type != "cpu":
            raise ValueError(f"x must be [N, {self.num_in}] float32 or bfloat16 on the CPU, not {_shown(x)}")
        return x if x.stride(1) == 1 else x.contiguous()

    def _output(self, rows: int, dtype: torch.dtype, residual: Tensor | None) -> Tensor:
        if dtype not in _TYPES:
            raise ValueError(f"results are float32 or bfloat16, not {dtype}")
        out = torch.empty((rows, self.num_out), dtype=dtype)
        if residual is not None and (
            residual.shape != out.shape or residual.dtype != dtype or not residual.is_contiguous()
        ):
            raise ValueError(f"the residual must be {_shown(out)} without gaps, not {_shown(residual)}")
        return out


def can_multiply(dtype: torch.dtype) -> bool:
    """Whether the native product with weights of this type runs here: int8 or bfloat16."""
    found = library()
    needed = {torch.int8: AVX2, torch.bfloat16: AVX512 | AVX512_BF16}
    return found is not None and dtype in needed and found.has(needed[dtype])


def check(weights: PackedWeights) -> None:
    """Everything the kernel relies on. Raises ValueError."""
    panels, num_out, together = weights.panels, weights.num_out, 4 // weights.panels.dtype.itemsize
    if panels.dtype not in _WEIGHT_TYPES or panels.shape[2:] != (PANEL, together) or not panels.is_contiguous():
        raise ValueError(f"panels must be [P, K / n, {PANEL}, n] int8 or bfloat16 without gaps, not {_shown(panels)}")
    depth, columns = panels.shape[1] * together, panels.shape[0] * PANEL
    if depth % DEPTH or not 0 < weights.num_in <= depth <= MAX_DEPTH:
        raise ValueError(f"{weights.num_in} inputs don't fit {depth}, a multiple of {DEPTH}, at most {MAX_DEPTH}")
    per_panel = PANEL // 2 if weights.gated else PANEL
    if num_out < 1 or -(-num_out // per_panel) != panels.shape[0]:
        raise ValueError(f"{num_out} results don't fill {panels.shape[0]} panels of {per_panel}")
    if weights.activation not in _ACTIVATIONS:
        raise ValueError(f"there is no activation {weights.activation!r}")
    for name, dtype in (("scales", torch.float32), ("offsets", torch.int32), ("bias", torch.float32)):
        value: Tensor = getattr(weights, name)
        if value.dtype != dtype or value.shape != (columns,) or not value.is_contiguous():
            raise ValueError(f"{name} must be [{columns}] {dtype} without gaps, not {_shown(value)}")
    if weights.rotation and (panels.dtype != torch.int8 or not fits_rotation(weights.num_in, weights.rotation)):
        raise ValueError(f"{weights.num_in} inputs in {panels.dtype} can't be mixed in blocks of {weights.rotation}")
    if weights.norm is not None and weights.norm.size != weights.num_in:
        raise ValueError(f"the norm is over {weights.norm.size} values, not {weights.num_in}")


def fits_rotation(num_in: int, size: int) -> bool:
    """Whether blocks of this size can be mixed: a power of two, whole registers, and no block in the padding."""
    return size >= DEPTH and size & (size - 1) == 0 and num_in % size == 0


def _padded_norm(norm: Normalise | None, padded_in: int) -> tuple[Tensor, Tensor]:
    """Weight and bias `[padded in]` float32, zeros behind the norm's own; both stand where the norm has none."""
    weight, bias = torch.zeros(padded_in), torch.zeros(padded_in)
    if norm is not None:
        weight[: norm.size] = 1.0 if norm.weight is None else norm.weight.float()
        if norm.bias is not None:
            bias[: norm.size] = norm.bias.float()
    return weight, bias


@cache
def _declare(functions: ctypes.CDLL) -> None:
    """The C signature, once: ctypes then takes plain integers as pointers."""
    functions.handful_linear.argtypes, functions.handful_linear.restype = [ctypes.c_void_p] * 2, None


def _shown(x: Tensor) -> str:
    return f"{list(x.shape)} {str(x.dtype).removeprefix('torch.')}"

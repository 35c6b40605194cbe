"""The native int8 product behind checked Python: activations in, finished results out.

Dtypes, shapes and contiguity are checked before a pointer leaves Python: a wrong tensor is an error of this program
(ValueError), never a read beyond it.
"""

import ctypes
from dataclasses import dataclass
from functools import cache

import torch
from torch import Tensor

from handful.model.ops.native.library import AVX512, AVX512_VNNI, library
from handful.model.ops.norm import Normalise

PANEL = 32
DEPTH = 64
MAX_DEPTH = 65_536  # 255 * 127 * 65,536 still fits into 32 bits
ZERO_BYTE = 128  # of activations without a sign, which is what VNNI multiplies

_ACTIVATIONS = {None: 0, "gelu": 1, "gelu_tanh": 2, "relu": 3, "silu": 4}
_NORMS = {"layer": 1, "rms": 2}
_TYPES = {torch.float32: 0, torch.bfloat16: 1}


class _Layer(ctypes.Structure):
    """`Int8Linear` of linear_int8.h."""

    _fields_ = (
        ("panels", ctypes.c_void_p),
        ("scales", ctypes.c_void_p),
        ("offsets", ctypes.c_void_p),
        ("bias", ctypes.c_void_p),
        ("norm_weight", ctypes.c_void_p),
        ("norm_bias", ctypes.c_void_p),
        ("num_in", ctypes.c_int64),
        ("padded_in", ctypes.c_int64),
        ("num_out", ctypes.c_int64),
        ("activation", ctypes.c_int32),
        ("gated", ctypes.c_int32),
        ("norm", ctypes.c_int32),
        ("norm_eps", ctypes.c_float),
    )


@dataclass(frozen=True, slots=True, eq=False)
class PackedWeights:
    """A layer's int8 weights in the order of the kernel, and what is fused to its product.

    panels    `[P, padded in / 4, 32, 4]` int8
    scales    `[32 P]` float32, of the weight's rows; bias `[32 P]` float32
    offsets   `[32 P]` int32: -128 times the row's sum
    num_in    columns of x; num_out columns of the result (gated: half of the product's)
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


class NativeProduct:
    """A packed layer that was checked once: what the three functions of the library do with it."""

    def __init__(self, weights: PackedWeights) -> None:
        check(weights)
        found = library()
        if found is None or not found.has(AVX512):
            raise RuntimeError("the native kernels aren't there: ask can_multiply() or can_finish() first")
        _declare(found.functions)
        self._functions = found.functions
        self.num_in, self.num_out = weights.num_in, weights.num_out
        self.padded_in = weights.panels.shape[1] * 4
        self._columns = weights.panels.shape[0] * PANEL
        norm_weight, norm_bias = _padded_norm(weights.norm, self.padded_in)
        self._kept = (weights, norm_weight, norm_bias)  # the memory that `_layer` points to
        layer = _Layer(
            weights.panels.data_ptr(),
            weights.scales.data_ptr(),
            weights.offsets.data_ptr(),
            weights.bias.data_ptr(),
            norm_weight.data_ptr(),
            norm_bias.data_ptr(),
            weights.num_in,
            self.padded_in,
            weights.num_out,
            _ACTIVATIONS[weights.activation],
            int(weights.gated),
            0 if weights.norm is None else _NORMS[weights.norm.kind],
            0.0 if weights.norm is None else weights.norm.eps,
        )
        self._layer, self._address = layer, ctypes.addressof(layer)

    def linear(self, x: Tensor, residual: Tensor | None) -> Tensor:
        """All of it: x `[N, in]` in float32 or bfloat16 -> `[N, out]` in the same dtype, added to `residual`."""
        x = self._checked_input(x)
        rows, dtype = x.shape[0], x.dtype
        out = self._output(rows, dtype, residual)
        bytes_ = torch.empty(rows * self.padded_in, dtype=torch.uint8)
        scales = torch.empty(rows)
        self._functions.handful_linear_int8(
            self._address,
            x.data_ptr(),
            rows,
            x.stride(0) * dtype.itemsize,
            _TYPES[dtype],
            None if residual is None else residual.data_ptr(),
            out.data_ptr(),
            bytes_.data_ptr(),
            scales.data_ptr(),
            torch.get_num_threads(),
        )
        return out

    def quantise(self, x: Tensor, zero_byte: int) -> tuple[Tensor, Tensor]:
        """Activations, normed if the layer norms, as int8 `[N, padded in]` (zero_byte 0) or uint8 (128), and scales."""
        if zero_byte not in (0, ZERO_BYTE):
            raise ValueError(f"the byte of zero is 0 or {ZERO_BYTE}, not {zero_byte}")
        x = self._checked_input(x)
        rows = x.shape[0]
        found = torch.empty((rows, self.padded_in), dtype=torch.uint8 if zero_byte else torch.int8)
        scales = torch.empty(rows)
        self._functions.handful_quantise_int8(
            self._address,
            x.data_ptr(),
            rows,
            x.stride(0) * x.dtype.itemsize,
            _TYPES[x.dtype],
            zero_byte,
            found.data_ptr(),
            scales.data_ptr(),
            torch.get_num_threads(),
        )
        return found, scales

    def finish(self, sums: Tensor, scales: Tensor, dtype: torch.dtype, residual: Tensor | None) -> Tensor:
        """Another library's sums `[N, whole panels]` int32 of signed activations -> `[N, out]`."""
        if sums.dtype != torch.int32 or sums.dim() != 2 or sums.shape[1] != self._columns or not sums.is_contiguous():
            raise ValueError(f"sums must be [N, {self._columns}] int32 without gaps, not {_shown(sums)}")
        if scales.dtype != torch.float32 or scales.shape != sums.shape[:1] or not scales.is_contiguous():
            raise ValueError(f"{sums.shape[0]} rows need as many float32 scales, not {_shown(scales)}")
        if dtype not in _TYPES:
            raise ValueError(f"results are float32 or bfloat16, not {dtype}")
        out = self._output(sums.shape[0], dtype, residual)
        self._functions.handful_finish_int8(
            self._address,
            sums.data_ptr(),
            scales.data_ptr(),
            sums.shape[0],
            _TYPES[dtype],
            None if residual is None else residual.data_ptr(),
            out.data_ptr(),
            torch.get_num_threads(),
        )
        return out

    def _checked_input(self, x: Tensor) -> Tensor:
        if x.dtype not in _TYPES or x.dim() != 2 or x.shape[1] != self.num_in or x.device.type != "cpu":
            raise ValueError(f"x must be [N, {self.num_in}] float32 or bfloat16 on the CPU, not {_shown(x)}")
        return x if x.stride(1) == 1 else x.contiguous()

    def _output(self, rows: int, dtype: torch.dtype, residual: Tensor | None) -> Tensor:
        out = torch.empty((rows, self.num_out), dtype=dtype)
        if residual is not None and (
            residual.shape != out.shape or residual.dtype != dtype or not residual.is_contiguous()
        ):
            raise ValueError(f"the residual must be {_shown(out)} without gaps, not {_shown(residual)}")
        return out


def can_multiply() -> bool:
    """Whether the native product runs here."""
    found = library()
    return found is not None and found.has(AVX512 | AVX512_VNNI)


def can_finish() -> bool:
    """Whether quantising and finishing run here, with another library's product between."""
    found = library()
    return found is not None and found.has(AVX512)


def check(weights: PackedWeights) -> None:
    """Everything the kernel relies on. Raises ValueError."""
    panels, num_out = weights.panels, weights.num_out
    if panels.dtype != torch.int8 or panels.dim() != 4 or panels.shape[2:] != (PANEL, 4) or not panels.is_contiguous():
        raise ValueError(f"panels must be [P, K / 4, {PANEL}, 4] int8 without gaps, not {_shown(panels)}")
    depth, columns = panels.shape[1] * 4, panels.shape[0] * PANEL
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
    if weights.norm is not None and weights.norm.size != weights.num_in:
        raise ValueError(f"the norm is over {weights.norm.size} values, not {weights.num_in}")


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
    """The C signatures, once: ctypes then takes plain integers as pointers."""
    pointer, size, flag = ctypes.c_void_p, ctypes.c_int64, ctypes.c_int32
    signatures = {
        "handful_linear_int8": [pointer, pointer, size, size, flag, pointer, pointer, pointer, pointer, flag],
        "handful_quantise_int8": [pointer, pointer, size, size, flag, flag, pointer, pointer, flag],
        "handful_finish_int8": [pointer, pointer, pointer, size, flag, pointer, pointer, flag],
    }
    for name, arguments in signatures.items():
        function = getattr(functions, name)
        function.argtypes, function.restype = arguments, None


def _shown(x: Tensor) -> str:
    return f"{list(x.shape)} {str(x.dtype).removeprefix('torch.')}"

"""One linear layer behind one name: [norm], product, bias, [activation or gate], [residual], fused where they can be.

    y = residual + activation(norm(x) W^T + b)
    gated: y = residual + activation(g) * u, where [g, u] = norm(x) W^T + b

`make_linear` is the seam for kernels: weights are packed once, at load. In bfloat16 the native product runs where there
is AMX or AVX-512 BF16. Elsewhere, and in float32, oneDNN's packed product does: it is faster than `F.linear` at every
batch size that was measured, 1 to 1024 rows (docs/log.md); a private operator of torch, so its absence is handled. int8
lives in linear_int8.py.
"""

from typing import Protocol

import torch
import torch.nn.functional as F
from torch import Tensor

from handful.model.ops.activation import activate, gate
from handful.model.ops.fused import NOTHING, Fused
from handful.model.ops.native.linear import MAX_DEPTH, NativeProduct, can_multiply
from handful.model.ops.native.panels import Columns, pack_panels
from handful.model.spec import Activation

# torch's name of each activation's fused form: (attribute, algorithm).
_FUSED: dict[Activation | None, tuple[str, str]] = {
    None: ("none", ""),
    "gelu": ("gelu", "none"),
    "gelu_tanh": ("gelu", "tanh"),
    "relu": ("relu", ""),
    "silu": ("swish", ""),
}


class Linear(Protocol):
    """A linear layer with what is fused to it."""

    def __call__(self, x: Tensor, /, residual: Tensor | None = None) -> Tensor:
        """x `[N, in]` and residual `[N, out]`, of one dtype -> `[N, out]` of that dtype. Neither is changed."""
        ...


class PlainLinear:
    """The product as torch comes with it: the oracle, and the path of every device but the CPU."""

    def __init__(self, weight: Tensor, fused: Fused = NOTHING) -> None:
        self._weight, self._fused = weight, fused

    def __call__(self, x: Tensor, /, residual: Tensor | None = None) -> Tensor:
        fused = self._fused
        product = F.linear(x if fused.norm is None else fused.norm(x), self._weight, fused.bias)
        if fused.activation is not None:
            product = (gate if fused.gated else activate)(product, fused.activation)
        return product if residual is None else product.add_(residual)


class PackedLinear:
    """oneDNN's product over a weight that was reordered once into the layout its kernel reads."""

    def __init__(self, weight: Tensor, fused: Fused = NOTHING) -> None:
        self._packed: Tensor = torch.ops.mkldnn._reorder_linear_weight(weight.contiguous())
        self._bias, self._norm = fused.bias, fused.norm
        self._gate = fused.activation if fused.gated else None
        self._attribute, self._algorithm = _FUSED[None if fused.gated else fused.activation]
        self._product = torch.ops.mkldnn._linear_pointwise.default

    def __call__(self, x: Tensor, /, residual: Tensor | None = None) -> Tensor:
        normed = x if self._norm is None else self._norm(x)
        out: Tensor = self._product(normed, self._packed, self._bias, self._attribute, [], self._algorithm)
        if self._gate is not None:
            out = gate(out, self._gate)
        return out if residual is None else out.add_(residual)


class NativeLinear:
    """The native product in bfloat16: norm before, everything behind it fused, sums finished in float32."""

    def __init__(self, weight: Tensor, fused: Fused = NOTHING) -> None:
        columns = Columns(torch.ones(weight.shape[0]), torch.zeros(weight.shape[0], dtype=torch.int32))
        self.product = NativeProduct(pack_panels(weight, columns, fused))

    def __call__(self, x: Tensor, /, residual: Tensor | None = None) -> Tensor:
        return self.product.linear(x, residual)

    def wide(self, x: Tensor) -> Tensor:
        """The product in float32, as its sums are: `[N, in]` -> `[N, out]`."""
        return self.product.linear(x, dtype=torch.float32)


def is_native_bfloat16(weight: Tensor) -> bool:
    """Whether the native product in bfloat16 takes this weight here."""
    fits = weight.dtype == torch.bfloat16 and weight.device.type == "cpu" and weight.shape[1] <= MAX_DEPTH
    return fits and can_multiply(weight.dtype)


def can_pack(weight: Tensor) -> bool:
    """Whether oneDNN's packed product takes this weight here."""
    if weight.device.type != "cpu" or not torch._C._has_mkldnn:
        return False
    if not hasattr(torch.ops.mkldnn, "_linear_pointwise") or not hasattr(torch.ops.mkldnn, "_reorder_linear_weight"):
        return False
    if weight.dtype == torch.bfloat16:
        return bool(torch.ops.mkldnn._is_mkldnn_bf16_supported())
    return weight.dtype == torch.float32


def make_linear(weight: Tensor, fused: Fused = NOTHING) -> Linear:
    """The fastest linear layer that computes in the weight's own dtype, which is also its bias's."""
    kind = NativeLinear if is_native_bfloat16(weight) else PackedLinear if can_pack(weight) else PlainLinear
    return kind(weight, fused)

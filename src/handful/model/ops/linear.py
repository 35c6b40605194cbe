"""One linear layer behind one name: the weight is packed once at load, bias and activation are fused where they can be.

`make_linear` is the seam for other kernels (int8, native): whatever it returns takes `[N, in]` and gives `[N, out]` in
the dtype of its input. oneDNN's packed product is faster than `F.linear` at every batch size that was measured, 1 to
1024 rows, in bfloat16 and float32 (docs/log.md); it is a private operator of torch, so its absence is handled.
"""

from typing import Protocol

import torch
import torch.nn.functional as F
from torch import Tensor

from handful.model.ops.activation import activate
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
    """activation(x W^T + b)."""

    def __call__(self, x: Tensor, /) -> Tensor:
        """`[N, in]` -> `[N, out]`, in the dtype of x."""
        ...


class PlainLinear:
    """The product as torch comes with it: the oracle, and the path of every device but the CPU."""

    def __init__(self, weight: Tensor, bias: Tensor | None = None, activation: Activation | None = None) -> None:
        self._weight, self._bias, self._activation = weight, bias, activation

    def __call__(self, x: Tensor, /) -> Tensor:
        product = F.linear(x, self._weight, self._bias)
        return product if self._activation is None else activate(product, self._activation)


class PackedLinear:
    """oneDNN's product over a weight that was reordered once into the layout its kernel reads."""

    def __init__(self, weight: Tensor, bias: Tensor | None = None, activation: Activation | None = None) -> None:
        self._packed: Tensor = torch.ops.mkldnn._reorder_linear_weight(weight.contiguous())
        self._bias = bias
        self._attribute, self._algorithm = _FUSED[activation]
        self._product = torch.ops.mkldnn._linear_pointwise.default

    def __call__(self, x: Tensor, /) -> Tensor:
        out: Tensor = self._product(x, self._packed, self._bias, self._attribute, [], self._algorithm)
        return out


def can_pack(weight: Tensor) -> bool:
    """Whether oneDNN's packed product takes this weight here."""
    if weight.device.type != "cpu" or not torch._C._has_mkldnn:
        return False
    if not hasattr(torch.ops.mkldnn, "_linear_pointwise") or not hasattr(torch.ops.mkldnn, "_reorder_linear_weight"):
        return False
    if weight.dtype == torch.bfloat16:
        return bool(torch.ops.mkldnn._is_mkldnn_bf16_supported())
    return weight.dtype == torch.float32


def make_linear(weight: Tensor, bias: Tensor | None = None, activation: Activation | None = None) -> Linear:
    """The fastest linear layer for this weight. weight `[out, in]`, bias `[out]`, both of one dtype and device."""
    kind = PackedLinear if can_pack(weight) else PlainLinear
    return kind(weight, bias, activation)

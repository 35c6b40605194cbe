"""The product that ends in logits, and the largest of them: greedy decoding wants nothing else."""

from collections.abc import Callable
from typing import Protocol

import torch
from torch import Tensor

from handful.model.ops.fused import Fused
from handful.model.ops.linear import NativeLinear, make_linear
from handful.model.ops.linear_int8 import Int8Linear, NativeInt8, mix, quantise_symmetric
from handful.model.ops.native.largest import MOST_ROWS, NativeLargest, farthest_off

# Standard deviations. Of a hundred rows and 12,000 columns 5.0 are to be expected, and screening leaves room for 8.
MOST_OFF = 6.5


class Head(Protocol):
    """A model's head."""

    def __call__(self, x: Tensor, /) -> Tensor:
        """x `[M, in]` -> logits `[M, out]` float32."""
        ...

    def largest(self, x: Tensor, /) -> Tensor:
        """The index of each row's largest logit, the first of equals: x `[M, in]` -> `[M]` int64."""
        ...


class PlainHead:
    """All logits, by any product."""

    def __init__(self, product: Callable[[Tensor], Tensor]) -> None:
        self._product = product

    def __call__(self, x: Tensor, /) -> Tensor:
        return self._product(x)

    def largest(self, x: Tensor, /) -> Tensor:
        """See `Head.largest`."""
        return largest_of(self._product(x))


class ScreenedHead(PlainHead):
    """In int8: for a few rows, where reading the weights takes the time, half of them are read."""

    def __init__(self, linear: NativeInt8) -> None:
        super().__init__(linear.wide)
        self._largest = NativeLargest(linear.product)

    def largest(self, x: Tensor, /) -> Tensor:
        """See `Head.largest`."""
        return self._largest(x) if len(x) <= MOST_ROWS else super().largest(x)


def largest_of(logits: Tensor) -> Tensor:
    """The index of each row's largest, `[M, V]` -> `[M]`. On the processor NumPy finds it sooner than torch."""
    return torch.from_numpy(logits.numpy().argmax(-1)) if logits.device.type == "cpu" else logits.argmax(-1)


def make_head(weight: Tensor, bias: Tensor | None = None) -> Head:
    """The head in the weight's own type, its logits not rounded where the kernel allows it."""
    linear = make_linear(weight, Fused(bias))
    return PlainHead(linear.wide if isinstance(linear, NativeLinear) else lambda x: linear(x).float())


def head_of(linear: Int8Linear, seen: Tensor) -> Head:
    """The head whose product is `linear`, screened where on rows `[N, in]` that were seen half of its weights tell
    about as much as is assumed."""
    if not isinstance(linear, NativeInt8) or not linear.product.weights.is_finite:
        return PlainHead(linear.wide)
    weights = linear.product.weights
    quantised, _ = quantise_symmetric(mix(seen.float(), weights.rotation))
    return PlainHead(linear.wide) if farthest_off(weights, quantised) > MOST_OFF else ScreenedHead(linear)

"""One layer in int8: which of its linears can be, found by measuring what each gets and gives on a short text.

A few channels of the normed activations are many times larger than the rest, and one scale a row has to span them
all. `smooth` in ops/linear_int8.py evens them out exactly, by moving a factor of each channel from the norm in front of
a product into the product's weights (SmoothQuant, arXiv 2211.10438). A linear whose results still move too much stays
as it is. Deterministic on one machine.
"""

from dataclasses import dataclass, field, replace

from torch import Tensor

from handful.model.layers import Layer, LayerWeights, LinearKind, assemble
from handful.model.ops.fused import Fused
from handful.model.ops.head import Head, head_of
from handful.model.ops.linear import Linear
from handful.model.ops.linear_int8 import can_quantise, make_int8
from handful.model.spec import ModelSpec

MAX_ERROR = 0.025  # of a linear's results on the text, relative; a rounded row alone costs 0.01 to 0.02


@dataclass(frozen=True, slots=True, eq=False)
class Quantised:
    """A layer, and the kinds of its linears that are in int8."""

    layer: Layer
    kinds: frozenset[LinearKind]


@dataclass(frozen=True, slots=True, eq=False)
class Watch:
    """What the linears of a layer get, `[N, in]` each, when the layer runs."""

    inputs: dict[LinearKind, Tensor] = field(default_factory=dict)

    def over(self, layer: Layer) -> Layer:
        """The same layer, watched."""
        return replace(
            layer,
            qkv=self._watched("qkv", layer.qkv),
            attention_out=self._watched("attention_out", layer.attention_out),
            mlp_up=self._watched("mlp_up", layer.mlp_up),
            mlp_down=self._watched("mlp_down", layer.mlp_down),
        )

    def _watched(self, kind: LinearKind, linear: Linear) -> Linear:
        def call(x: Tensor, /, residual: Tensor | None = None) -> Tensor:
            self.inputs[kind] = x
            return linear(x, residual)

        return call


def quantise_layer(spec: ModelSpec, weights: LayerWeights, exact: Layer, inputs: dict[LinearKind, Tensor]) -> Quantised:
    """The layer with its linears in int8 but for those that can't be, or err too much on `inputs`."""
    kinds: set[LinearKind] = set()

    def make(kind: LinearKind, weight: Tensor, fused: Fused) -> Linear:
        whole: Linear = getattr(exact, kind)
        if not can_quantise(weight):
            return whole
        x = inputs[kind]
        wanted, seen = whole(x), _later(x if fused.norm is None else fused.norm(x))
        quick = make_int8(weight, fused, seen)
        if fused.activation is None:
            quick = quick.with_bias(_evened(fused.bias, quick(x), wanted))
        if relative_error(quick(x), wanted) > MAX_ERROR:
            return whole
        kinds.add(kind)
        return quick

    layer = assemble(spec, weights, make)
    return Quantised(layer, frozenset(kinds))


def quantise_head(weight: Tensor, bias: Tensor | None, exact: Head, inputs: Tensor) -> Head:
    """The head in int8, or `exact` itself where it can't be or errs too much on `inputs` `[N, d]`."""
    if not can_quantise(weight):
        return exact
    wanted = exact(inputs)
    quick = make_int8(weight, Fused(bias), _later(inputs))
    quick = quick.with_bias(_evened(bias, quick.wide(inputs), wanted))
    return exact if relative_error(quick.wide(inputs), wanted) > MAX_ERROR else head_of(quick, inputs)


def _evened(bias: Tensor | None, found: Tensor, wanted: Tensor) -> Tensor:
    """The bias with which the results `found` `[N, out]` of a text would be those `wanted` on average, `[out]`.

    Inputs have a large part in common, on which a row of the weight errs the same way every time (Nagel et al. 2019,
    arXiv 1906.04721, section 4.2).
    """
    shift = _later(wanted.float() - found.float()).mean(dim=0)
    return shift if bias is None else bias.float() + shift


def relative_error(found: Tensor, wanted: Tensor) -> float:
    """|found - wanted| / |wanted| of rows `[N, out]`, but for the first token's."""
    found, wanted = _later(found).float(), _later(wanted).float()
    return float((found - wanted).norm() / wanted.norm().clamp_min(1e-30))


def _later(x: Tensor) -> Tensor:
    """Without the first token, which is an outlier of its own in most models."""
    return x[1:] if len(x) > 1 else x

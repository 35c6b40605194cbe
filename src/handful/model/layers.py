"""One layer's weights, packed for the products they are used in, and how they are read."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Literal, get_args

import torch
from torch import Tensor

from handful.model.families_tensors import TensorReader
from handful.model.ops.fused import NOTHING, Fused
from handful.model.ops.linear import Linear, NativeLinear, make_linear
from handful.model.ops.linear_int8 import NativeInt8
from handful.model.ops.native.stack import NativeStack, StackProducts, StackShape
from handful.model.ops.norm import Normalise
from handful.model.spec import ModelSpec

# The linears of a layer.
LinearKind = Literal["qkv", "attention_out", "mlp_up", "mlp_down"]
LINEAR_KINDS: tuple[LinearKind, ...] = get_args(LinearKind)


@dataclass(frozen=True, slots=True, eq=False)
class Layer:
    """The weights of one transformer layer. Norms that stand before a product are part of it.

    qkv             `[N, d]` -> `[N, (H + 2 Hkv) D]`, q before k before v
    attention_out   `[N, H D]` -> `[N, d]`
    mlp_up          `[N, d]` -> `[N, m]`, activated and gated
    mlp_down        `[N, m]` -> `[N, d]`
    attention_norm  behind the residual sum, where the spec's norms stand last; else None, as is mlp_norm
    q_norm, k_norm  None where there are none
    """

    qkv: Linear
    attention_out: Linear
    mlp_up: Linear
    mlp_down: Linear
    attention_norm: Normalise | None = None
    mlp_norm: Normalise | None = None
    q_norm: Normalise | None = None
    k_norm: Normalise | None = None


@dataclass(frozen=True, slots=True, eq=False)
class LayerWeights:
    """A layer as it is read, before packing: weight and bias of each linear, and the norms."""

    linears: dict[LinearKind, tuple[Tensor, Tensor | None]]
    attention_norm: Normalise
    mlp_norm: Normalise
    q_norm: Normalise | None
    k_norm: Normalise | None


def read_weights(reader: TensorReader, layer: int) -> LayerWeights:
    """Read one layer. The reader has checked that everything is there."""
    spec, names = reader.spec, reader.names
    attention_norm = _read_norm(reader, layer, names.attention_norm)
    shared = spec.residual == "parallel_shared"
    return LayerWeights(
        linears={
            "qkv": reader.qkv(layer),
            "attention_out": reader.linear(layer, (names.attention_out,), spec.attention_out_bias),
            "mlp_up": reader.linear(layer, names.mlp_up, spec.mlp_bias),
            "mlp_down": reader.linear(layer, (names.mlp_down,), spec.mlp_bias),
        },
        attention_norm=attention_norm,
        mlp_norm=attention_norm if shared else _read_norm(reader, layer, names.mlp_norm),
        q_norm=_read_head_norm(reader, layer, "self_attn.q_norm"),
        k_norm=_read_head_norm(reader, layer, "self_attn.k_norm"),
    )


# Makes one linear: its kind, its weight, and what is fused to it.
MakeLinear = Callable[[LinearKind, Tensor, Fused], Linear]


def assemble(spec: ModelSpec, weights: LayerWeights, make: MakeLinear) -> Layer:
    """The layer of these weights, each linear made by `make`."""
    first = spec.norm_first
    norms = (weights.attention_norm, weights.mlp_norm) if first else (None, None)

    def made(kind: LinearKind, fused: Fused) -> Linear:
        weight, bias = weights.linears[kind]
        return make(kind, weight, replace(fused, bias=bias))

    return Layer(
        qkv=made("qkv", Fused(norm=norms[0])),
        attention_out=made("attention_out", NOTHING),
        mlp_up=made("mlp_up", Fused(activation=spec.activation, gated=spec.gated_mlp, norm=norms[1])),
        mlp_down=made("mlp_down", NOTHING),
        attention_norm=None if first else weights.attention_norm,
        mlp_norm=None if first else weights.mlp_norm,
        q_norm=weights.q_norm,
        k_norm=weights.k_norm,
    )


def pack_layer(spec: ModelSpec, weights: LayerWeights) -> Layer:
    """The layer with its weights packed, in their own dtype."""
    return assemble(spec, weights, lambda _, weight, fused: make_linear(weight, fused))


def stack_of(spec: ModelSpec, layers: Sequence[Layer], dtype: torch.dtype) -> NativeStack | None:
    """All layers as one native call for rows of `dtype`; None where anything in them is not a native product."""
    found: list[StackProducts] = []
    for layer in layers:
        linears = (layer.qkv, layer.attention_out, layer.mlp_up, layer.mlp_down)
        if any(norm is not None for norm in (layer.attention_norm, layer.mlp_norm, layer.q_norm, layer.k_norm)):
            return None
        products = [linear.product for linear in linears if isinstance(linear, (NativeLinear, NativeInt8))]
        if len(products) < len(linears):
            return None
        found.append(StackProducts(*products))
    shape = StackShape(spec.num_heads, spec.num_kv_heads, spec.head_dim, spec.residual != "sequential")
    return NativeStack(found, shape, dtype) if found else None


def num_weights(spec: ModelSpec, kind: LinearKind) -> int:
    """Weights (without biases) of this kind of linear in one layer."""
    queries, hidden, middle = spec.qkv_sizes[0], spec.hidden_size, spec.intermediate_size
    sizes = {
        "qkv": sum(spec.qkv_sizes) * hidden,
        "attention_out": queries * hidden,
        "mlp_up": hidden * middle * (2 if spec.gated_mlp else 1),
        "mlp_down": middle * hidden,
    }
    return sizes[kind]


def _read_norm(reader: TensorReader, layer: int, stem: str) -> Normalise:
    return make_norm(reader, reader.names.layer.format(layer) + stem)


def make_norm(reader: TensorReader, stem: str) -> Normalise:
    """A norm over the hidden size, by its stem in the base model."""
    spec = reader.spec
    weight: Tensor | None = reader.base(stem) if spec.norm_affine else None
    bias: Tensor | None = reader.base(stem, "bias") if spec.norm_affine and spec.norm == "layer" else None
    return Normalise(spec.norm, spec.norm_eps, spec.hidden_size, weight, bias)


def _read_head_norm(reader: TensorReader, layer: int, stem: str) -> Normalise | None:
    spec = reader.spec
    if not spec.qk_norm:
        return None
    return Normalise("rms", spec.norm_eps, spec.head_dim, reader.in_layer(layer, stem))

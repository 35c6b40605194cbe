"""One layer's weights, packed for the products they are used in, and how they are read."""

from dataclasses import dataclass

from torch import Tensor

from handful.model.families_tensors import TensorReader
from handful.model.ops.linear import Linear, make_linear
from handful.model.ops.norm import Normalise


@dataclass(frozen=True, slots=True, eq=False)
class Layer:
    """The weights of one transformer layer.

    qkv            `[N, d]` -> `[N, (H + 2 Hkv) D]`, q before k before v
    attention_out  `[N, H D]` -> `[N, d]`
    mlp_up         `[N, d]` -> `[N, m]`, activated; gated: -> `[N, 2m]`, gate before up, not activated yet
    mlp_down       `[N, m]` -> `[N, d]`
    mlp_norm       None where attention and MLP share a norm; q_norm and k_norm None where there are none
    """

    attention_norm: Normalise
    qkv: Linear
    attention_out: Linear
    mlp_norm: Normalise | None
    mlp_up: Linear
    mlp_down: Linear
    q_norm: Normalise | None = None
    k_norm: Normalise | None = None


def read_layer(reader: TensorReader, layer: int) -> Layer:
    """Read and pack one layer. The reader has checked that everything is there."""
    spec, names = reader.spec, reader.names
    mlp_up = reader.linear(layer, names.mlp_up, spec.mlp_bias)
    return Layer(
        attention_norm=_read_norm(reader, layer, names.attention_norm),
        qkv=make_linear(*reader.qkv(layer)),
        attention_out=make_linear(*reader.linear(layer, (names.attention_out,), spec.attention_out_bias)),
        mlp_norm=None if spec.residual == "parallel_shared" else _read_norm(reader, layer, names.mlp_norm),
        mlp_up=make_linear(*mlp_up, activation=None if spec.gated_mlp else spec.activation),
        mlp_down=make_linear(*reader.linear(layer, (names.mlp_down,), spec.mlp_bias)),
        q_norm=_read_head_norm(reader, layer, "self_attn.q_norm"),
        k_norm=_read_head_norm(reader, layer, "self_attn.k_norm"),
    )


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

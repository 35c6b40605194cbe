"""A reader of a checkpoint's tensors that checks every name and shape before anything is loaded.

It hands out linears as `[out, in]` rows in the order the decoder wants: q, k, v stacked; gate above up; pairs of rotary
dimensions half a head apart. Missing tensors and wrong shapes are refused by name.
"""

from collections.abc import Iterator
from typing import Protocol

import torch
from torch import Tensor

from handful.errors import CheckpointError
from handful.model.families_names import NAMES
from handful.model.ops.rotary import half_order
from handful.model.spec import ModelSpec

HEADS = ("lm_head", "embed_out")  # GPT-NeoX's head had the second name before Transformers 5
# What old checkpoints carry and nobody reads: causal masks and rotary tables.
_BUFFERS = ("attn.bias", "attn.masked_bias", "attention.bias", "attention.masked_bias", "rotary_emb.inv_freq")


class TensorFile(Protocol):
    """What is read of a checkpoint: `handful.model.checkpoint.Checkpoint`."""

    @property
    def names(self) -> tuple[str, ...]:
        """All tensors' names."""
        ...

    def shape(self, name: str) -> tuple[int, ...]:
        """A tensor's shape, without reading it."""
        ...

    def tensor(self, name: str) -> Tensor:
        """A tensor in the type it is stored in; may be mapped from a file, so it isn't written to."""
        ...


class TensorReader:
    """Reads a checkpoint's tensors for a spec, in one dtype, on one device.

    The constructor checks names and shapes of everything. Raises CheckpointError that names the tensor, the shape that
    was found and the shape that the configuration wants.
    """

    def __init__(self, spec: ModelSpec, checkpoint: TensorFile, dtype: torch.dtype, device: torch.device) -> None:
        self.spec, self.names = spec, NAMES[spec.architecture]
        self._checkpoint, self._dtype, self._device = checkpoint, dtype, device
        self._present = frozenset(checkpoint.names)
        self._prefix = self._find_prefix()
        self.head_stem = self._find_head()
        expected = dict(self._expected())
        for name, shape in expected.items():
            self._check(name, shape)
        self.num_parameters = sum(torch.Size(shape).numel() for shape in expected.values())
        self.unread = tuple(sorted(name for name in self._present - expected.keys() if not self._is_known(name)))

    def _find_prefix(self) -> str:
        for prefix in self.names.prefixes:
            if f"{prefix}{self.names.embedding}.weight" in self._present:
                return prefix
        return self.names.prefixes[0]  # its absence is reported with the rest

    def _find_head(self) -> str | None:
        """The head's stem, or None where the embedding is the head.

        As in Transformers: a head that is tied by the configuration but stored with other values than the embedding's
        is not tied.
        """
        stem = next((stem for stem in HEADS if f"{stem}.weight" in self._present), None)
        if not self.spec.tied_head:
            return stem or HEADS[0]
        embedding = f"{self._prefix}{self.names.embedding}.weight"
        if stem is None or embedding not in self._present:
            return None
        head = f"{stem}.weight"
        if self._checkpoint.shape(head) != self._checkpoint.shape(embedding):
            return stem
        return None if torch.equal(self._checkpoint.tensor(head), self._checkpoint.tensor(embedding)) else stem

    def _is_known(self, name: str) -> bool:
        """Tensors that may lie unread in a good checkpoint: a tied head's copy and old buffers."""
        return name in {f"{stem}.weight" for stem in HEADS} or name.endswith(_BUFFERS)

    def _expected(self) -> Iterator[tuple[str, tuple[int, ...]]]:
        """Name and shape of every tensor that the spec needs."""
        spec, names, at = self.spec, self.names, self._prefix
        yield f"{at}{names.embedding}.weight", (spec.vocab_size, spec.embedding_size)
        if spec.learned_positions is not None:
            rows = spec.context_length + spec.learned_positions
            yield f"{at}{names.positions}.weight", (rows, spec.hidden_size)
        if spec.embedding_size != spec.hidden_size:
            yield f"{at}project_in.weight", (spec.hidden_size, spec.embedding_size)
            yield f"{at}project_out.weight", (spec.embedding_size, spec.hidden_size)
        for layer in range(spec.num_layers):
            yield from self._expected_in_layer(at + names.layer.format(layer))
        if spec.final_norm:
            yield from self._expected_norm(f"{at}{names.final_norm}", spec.hidden_size)
        if self.head_stem is not None:
            yield f"{self.head_stem}.weight", (spec.vocab_size, spec.embedding_size)
        if spec.head_bias:
            yield f"{self.head_stem or HEADS[0]}.bias", (spec.vocab_size,)

    def _expected_in_layer(self, at: str) -> Iterator[tuple[str, tuple[int, ...]]]:
        spec, names = self.spec, self.names
        hidden, middle = spec.hidden_size, spec.intermediate_size
        yield from self._expected_norm(at + names.attention_norm, hidden)
        if spec.residual != "parallel_shared":
            yield from self._expected_norm(at + names.mlp_norm, hidden)
        sizes = spec.qkv_sizes if len(names.qkv) > 1 else (sum(spec.qkv_sizes),)
        for stem, rows in zip(names.qkv, sizes, strict=True):
            yield from self._expected_linear(at + stem, rows, hidden, spec.qkv_bias)
        yield from self._expected_linear(at + names.attention_out, hidden, spec.qkv_sizes[0], spec.attention_out_bias)
        for stem in names.mlp_up:
            yield from self._expected_linear(at + stem, middle, hidden, spec.mlp_bias)
        yield from self._expected_linear(at + names.mlp_down, hidden, middle, spec.mlp_bias)
        if spec.qk_norm:
            yield f"{at}self_attn.q_norm.weight", (spec.head_dim,)
            yield f"{at}self_attn.k_norm.weight", (spec.head_dim,)

    def _expected_linear(self, stem: str, out: int, width: int, bias: bool) -> Iterator[tuple[str, tuple[int, ...]]]:
        yield f"{stem}.weight", (width, out) if self.names.transposed else (out, width)
        if bias:
            yield f"{stem}.bias", (out,)

    def _expected_norm(self, stem: str, size: int) -> Iterator[tuple[str, tuple[int, ...]]]:
        if not self.spec.norm_affine:
            return
        yield f"{stem}.weight", (size,)
        if self.spec.norm == "layer":
            yield f"{stem}.bias", (size,)

    def _check(self, name: str, shape: tuple[int, ...]) -> None:
        fix = "config.json may belong to another model, or the download is incomplete: pull the model again."
        if name not in self._present:
            raise CheckpointError(f"The checkpoint lacks the tensor {name} (shape {list(shape)}).", fix=fix)
        found = tuple(self._checkpoint.shape(name))
        if found != shape:
            raise CheckpointError(f"The tensor {name} has shape {list(found)}; expected {list(shape)}.", fix=fix)

    def tensor(self, name: str) -> Tensor:
        """A checked tensor by its full name, in the reader's dtype and on its device; not copied where it need not be.

        Raises CheckpointError where it holds something other than floating-point numbers.
        """
        stored = self._checkpoint.tensor(name)
        if not stored.is_floating_point():
            raise CheckpointError(f"The tensor {name} holds {stored.dtype}, not floating-point numbers.")
        return stored.to(device=self._device, dtype=self._dtype)

    def head_bias(self) -> Tensor:
        """The head's bias (GPT-J)."""
        return self.tensor(f"{self.head_stem or HEADS[0]}.bias")

    def base(self, stem: str, kind: str = "weight") -> Tensor:
        """A tensor of the base model outside its layers."""
        return self.tensor(f"{self._prefix}{stem}.{kind}")

    def in_layer(self, layer: int, stem: str, kind: str = "weight") -> Tensor:
        """A tensor of one layer."""
        return self.base(self.names.layer.format(layer) + stem, kind)

    def linear(self, layer: int, stems: tuple[str, ...], bias: bool) -> tuple[Tensor, Tensor | None]:
        """The stacked weight `[out, in]` and bias `[out]` of one or several linears of a layer."""
        weights = [self.in_layer(layer, stem) for stem in stems]
        if self.names.transposed:
            weights = [weight.t() for weight in weights]
        biases = [self.in_layer(layer, stem, "bias") for stem in stems] if bias else []
        return _stacked(weights), (_stacked(biases) if biases else None)

    def qkv(self, layer: int) -> tuple[Tensor, Tensor | None]:
        """The fused q, k, v of a layer: weight `[(H + 2 Hkv) D, hidden]` and bias."""
        weight, bias = self.linear(layer, self.names.qkv, self.spec.qkv_bias)
        return self._ordered(weight), None if bias is None else self._ordered(bias)

    def _ordered(self, rows: Tensor) -> Tensor:
        """Rows of q, k, v as the decoder wants them: q above k above v, rotary pairs half a head apart."""
        spec = self.spec
        if self.names.qkv_by_head:
            by_head = rows.reshape(spec.num_heads, 3, spec.head_dim, *rows.shape[1:])
            rows = by_head.transpose(0, 1).reshape(rows.shape)
        if spec.rotary is not None and spec.rotary.interleaved:
            order = half_order(spec.head_dim, spec.rotary.dims)
            num_rotated = spec.num_heads + spec.num_kv_heads
            heads = rows.reshape(num_rotated + spec.num_kv_heads, spec.head_dim, *rows.shape[1:])
            rows = torch.cat((heads[:num_rotated, order], heads[num_rotated:])).reshape(rows.shape)
        return rows


def _stacked(parts: list[Tensor]) -> Tensor:
    return parts[0] if len(parts) == 1 else torch.cat(parts)

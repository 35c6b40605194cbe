"""The model, top down: tokens and positions in, hidden states out, logits for the rows that are asked for.

A step is one flat row of tokens of many requests. The decoder knows nothing of requests, caches, masks or windows: it
hands each layer's q, k, v to `attend` and takes what comes back. It holds no state between steps, so chunks, prefixes
and batches are the caller's affair. Run it under `torch.inference_mode()`.
"""

import logging
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from typing import Self

import torch
import torch.nn.functional as F
from torch import Tensor

from handful.model.calibration import Calibration, OneSequence
from handful.model.families_tensors import TensorFile, TensorReader
from handful.model.layers import (
    LINEAR_KINDS,
    Layer,
    LinearKind,
    make_norm,
    num_weights,
    pack_layer,
    read_weights,
    stack_of,
)
from handful.model.ops.head import Head, make_head
from handful.model.ops.linear import Linear, make_linear
from handful.model.ops.native.attention import AttentionKernel, PlannedAttention
from handful.model.ops.native.linear import can_multiply
from handful.model.ops.native.stack import NativeStack
from handful.model.ops.norm import Normalise
from handful.model.ops.rotary import Rotation, inverse_frequencies, rotate_in_place, rotation_at
from handful.model.quantising import Quantised, Watch, quantise_head, quantise_layer
from handful.model.quantising_attention import ComparedSequence, SequenceInBytes
from handful.model.spec import ModelSpec

_log = logging.getLogger(__name__)

# Of the calibration text's end, for what is measured of logits: of all its rows they would take more than the weights.
_LOGIT_ROWS = 96

# layer, q [N, H, D], k and v [N, Hkv, D] -> [N, H, D]. v may be strided. What attend keeps, it copies.
Attend = Callable[[int, Tensor, Tensor, Tensor], Tensor]
# the layer's number, counted from 1, and its hidden states [N, d]
Observe = Callable[[int, Tensor], None]
Mixing = tuple[Rotation | None, Attend]  # of a step: the same for every layer


@dataclass(frozen=True, slots=True, eq=False)
class Layers:
    """The layers as they are read, what is quantised of each, and the exact hidden states of the calibration text.

    `exact` are the layers without anything quantised, where these may still be wanted.
    """

    layers: list[Layer]
    kinds: tuple[frozenset[LinearKind], ...] = ()
    in_bytes: frozenset[int] = frozenset()
    exact: list[Layer] = field(default_factory=list)
    hidden: Tensor = field(default_factory=lambda: torch.zeros(0))


@dataclass(frozen=True, slots=True, eq=False)
class Ends:
    """The weights outside the layers: embeddings in, norm and head out."""

    embedding: Tensor
    positions: Tensor | None
    project_in: Linear | None
    final_norm: Normalise | None
    project_out: Linear | None
    head: Head


class Decoder:
    """One decoder-only transformer with its weights, in one dtype on one device. Immutable, so threads may share it."""

    def __init__(
        self,
        reader: TensorReader,
        dtype: torch.dtype,
        device: torch.device,
        calibration: Calibration | None = None,
    ) -> None:
        self.spec = reader.spec
        self.dtype, self.device = dtype, device
        self.num_parameters = reader.num_parameters
        self._ends = _read_ends(reader)
        self._frequencies, self._rotary_factor = None, 1.0
        if self.spec.rotary is not None:
            frequencies, self._rotary_factor = inverse_frequencies(self.spec.rotary)
            self._frequencies = frequencies.to(device)
        read = self._read_layers(reader, calibration)
        self._layers, self.quantised, self.attention_in_bytes = read.layers, read.kinds, read.in_bytes
        self.has_int8_head, self.divergence = False, 0.0
        self._stack: NativeStack | None = None
        if calibration is not None:
            ends = self._ends
            self._quantise_head(reader, calibration.tokens, read.hidden)
            if calibration.forbids(self.divergence):
                self._layers, self._ends, self.quantised, self.has_int8_head = read.exact, ends, (), False
                self.attention_in_bytes = frozenset()
        self._stack = stack_of(self.spec, self._layers, dtype)

    @classmethod
    def load(
        cls,
        spec: ModelSpec,
        checkpoint: TensorFile,
        precision: torch.dtype,
        device: torch.device,
        calibration: Calibration | None = None,
    ) -> Self:
        """Read, check and pack the weights.

        With `calibration`, linears are quantised, those that stay near enough to themselves on its text, and so are the
        head and the attention. `quantised`, `has_int8_head` and `attention_in_bytes` (numbers of layers) then name
        them, and `divergence` is the mean KL divergence of the next token's probabilities on the text from those of the
        whole model, in nats. Where that is more than may be, the decoder is the whole model, which is kept until then.

        Raises CheckpointError that names the tensor where one is missing, has another shape than `spec` says or holds
        something other than floating-point numbers; shapes are checked before anything is read.
        """
        reader = TensorReader(spec, checkpoint, precision, device)
        if reader.unread:
            shown = ", ".join(reader.unread[:3])
            _log.warning("%d tensors of the checkpoint are not part of the model: %s", len(reader.unread), shown)
        with torch.inference_mode():
            return cls(reader, precision, device, calibration)

    @property
    def is_native(self) -> bool:
        """Whether all products are the native kernels', so that torch's own operations take next to no time."""
        if self.device.type != "cpu":
            return False
        all_int8 = self.has_int8_head and all(kinds == set(LINEAR_KINDS) for kinds in self.quantised)
        return can_multiply(self.dtype) or (all_int8 and can_multiply(torch.int8))

    @property
    def weight_bytes(self) -> int:
        """Bytes of all parameters in the format they run in.

        A tied head that is packed takes its size once more, and one that is screened half of that besides.
        """
        num_int8 = sum(num_weights(self.spec, kind) for kinds in self.quantised for kind in kinds)
        return self.num_parameters * self.dtype.itemsize - num_int8 * (self.dtype.itemsize - 1)

    def _read_layers(self, reader: TensorReader, calibration: Calibration | None) -> Layers:
        """The packed layers. What is quantised is measured by what it gets behind the exact layers before it."""
        layers = range(self.spec.num_layers)
        if calibration is None:
            return Layers([pack_layer(self.spec, read_weights(reader, number)) for number in layers])
        found: list[Quantised] = []
        kept: list[Layer] = []
        tokens, positions = self._positioned(calibration.tokens)
        attend = ComparedSequence(self.spec, self._kernel_with_bytes())
        hidden, how = self._embed(tokens, positions), (self._rotation(positions), attend)
        for number in layers:
            weights, watch = read_weights(reader, number), Watch()
            exact = pack_layer(self.spec, weights)
            hidden = self._run_layer(number, watch.over(exact), hidden, how)
            found.append(quantise_layer(self.spec, weights, exact, watch.inputs))
            if calibration.max_divergence is not None:
                kept.append(exact)
        kinds = tuple(one.kinds for one in found)
        return Layers([one.layer for one in found], kinds, attend.layers, kept, hidden)

    def _quantise_head(self, reader: TensorReader, text: Tensor, hidden: Tensor) -> None:
        """Quantise the head, where a layer is, and measure what all of it comes to.

        `text` `[T]` are tokens, `hidden` `[T, d]` the exact layers' states on them.
        """
        exact = self.final_norm(hidden[-_LOGIT_ROWS:])
        wanted = self.logits(exact).log_softmax(-1)
        if any(self.quantised):
            ends = self._ends
            head = quantise_head(*_head_weights(reader, ends.embedding), ends.head, self._narrowed(exact))
            self.has_int8_head = head is not ends.head
            self._ends = replace(ends, head=head)
        kernel = self._kernel_with_bytes()
        attend = kernel and SequenceInBytes(self.spec, kernel, self.attention_in_bytes)
        quick = self.forward(*self._positioned(text), attend or OneSequence(self.spec))
        found = self.logits(self.final_norm(quick[-_LOGIT_ROWS:])).log_softmax(-1)
        self.divergence = F.kl_div(found, wanted, log_target=True, reduction="batchmean").item()

    def _kernel_with_bytes(self) -> AttentionKernel | None:
        kernel = AttentionKernel.find(self.dtype, self.spec.head_dim) if self.device.type == "cpu" else None
        return kernel if kernel is not None and kernel.has_bytes else None

    def _positioned(self, tokens: Tensor) -> tuple[Tensor, Tensor]:
        """As many tokens of a text as fit, and their positions."""
        fitting = tokens[: self.spec.context_length].to(self.device)
        return fitting, torch.arange(len(fitting), device=self.device)

    def forward(
        self,
        tokens: Tensor,
        positions: Tensor,
        attend: Attend,
        wanted: Tensor | None = None,
        observe: Observe | None = None,
    ) -> Tensor:
        """Hidden states before the final norm. tokens and positions `[N]` int64 -> `[N, d]`.

        `positions` count from 0 within each token's own request and stay below `spec.context_length`. Where only the
        rows `wanted` `[M]`, rising, are asked for, the answer is `[M, d]`, and the last layer goes no further with the
        others than to their keys and values. `observe` is told what leaves each layer but the last.
        """
        hidden = self._embed(tokens, positions)
        rotation = self._rotation(positions)
        if self._stack is not None and observe is None and isinstance(attend, PlannedAttention):
            return self._stack.run(hidden, attend, rotation, wanted)
        last = self.spec.num_layers - 1
        for number, layer in enumerate(self._layers):
            rows = wanted if number == last else None
            hidden = self._run_layer(number, layer, hidden, (rotation, attend), rows)
            if observe is not None and number != last:
                observe(number + 1, hidden)
        return hidden

    def final_norm(self, hidden: Tensor) -> Tensor:
        """The norm before the head. `[M, d]` -> `[M, d]`; the same tensor where the model has no final norm."""
        return hidden if self._ends.final_norm is None else self._ends.final_norm(hidden)

    def logits(self, normed: Tensor) -> Tensor:
        """Scores of every token of the vocabulary. `[M, d]` behind the final norm -> `[M, V]` float32."""
        return self._ends.head(self._narrowed(normed))

    def largest(self, normed: Tensor) -> Tensor:
        """The token with the highest score. `[M, d]` behind the final norm -> `[M]` int64."""
        return self._ends.head.largest(self._narrowed(normed))

    def _narrowed(self, normed: Tensor) -> Tensor:
        """What the head multiplies."""
        return normed if self._ends.project_out is None else self._ends.project_out(normed)

    def _embed(self, tokens: Tensor, positions: Tensor) -> Tensor:
        ends, offset = self._ends, self.spec.learned_positions
        hidden = F.embedding(tokens, ends.embedding)
        if ends.project_in is not None:
            hidden = ends.project_in(hidden)
        if ends.positions is not None and offset is not None:
            hidden = hidden + F.embedding(positions + offset, ends.positions)
        return hidden

    def _rotation(self, positions: Tensor) -> Rotation | None:
        if self._frequencies is None:
            return None
        return rotation_at(positions, self._frequencies, self._rotary_factor, self.spec.head_dim, self.dtype)

    def _run_layer(self, number: int, layer: Layer, x: Tensor, how: Mixing, rows: Tensor | None = None) -> Tensor:
        """x `[N, d]` -> `[N, d]`, or of `rows` `[M]` only: attention and MLP, each added to the residual stream."""
        mixed = self._mix(number, layer, x, how)
        if rows is not None:
            mixed, x = mixed[rows], x[rows]
        attended = layer.attention_out(mixed, x)
        if layer.attention_norm is not None:
            attended = layer.attention_norm(attended)
        source = attended if self.spec.residual == "sequential" else x
        out = layer.mlp_down(layer.mlp_up(source), attended)
        return out if layer.mlp_norm is None else layer.mlp_norm(out)

    def _mix(self, number: int, layer: Layer, x: Tensor, how: Mixing) -> Tensor:
        """What each row of x `[N, d]` gathers from the others: `[N, H D]`."""
        rotation, attend = how
        heads, kv_heads = self.spec.num_heads, self.spec.num_kv_heads
        qkv = layer.qkv(x).view(-1, heads + 2 * kv_heads, self.spec.head_dim)  # [N, H + 2 Hkv, D]
        qk, v = qkv[:, : heads + kv_heads], qkv[:, heads + kv_heads :]
        if layer.q_norm is not None and layer.k_norm is not None:
            qk = torch.cat((layer.q_norm(qk[:, :heads]), layer.k_norm(qk[:, heads:])), 1)
        if rotation is not None:
            qk = rotate_in_place(qk, rotation)
        return attend(number, qk[:, :heads], qk[:, heads:], v).flatten(1)


def _read_ends(reader: TensorReader) -> Ends:
    spec, names = reader.spec, reader.names
    embedding = reader.base(names.embedding)
    projected = spec.embedding_size != spec.hidden_size
    return Ends(
        embedding=embedding,
        positions=reader.base(names.positions) if spec.learned_positions is not None else None,
        project_in=make_linear(reader.base("project_in")) if projected else None,
        final_norm=make_norm(reader, names.final_norm) if spec.final_norm else None,
        project_out=make_linear(reader.base("project_out")) if projected else None,
        head=make_head(*_head_weights(reader, embedding)),
    )


def _head_weights(reader: TensorReader, embedding: Tensor) -> tuple[Tensor, Tensor | None]:
    """Weight and bias of the head; the weight may be the embedding."""
    weight = embedding if reader.head_stem is None else reader.tensor(f"{reader.head_stem}.weight")
    return weight, reader.head_bias() if reader.spec.head_bias else None

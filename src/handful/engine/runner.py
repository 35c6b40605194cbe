"""Runs a batch through the decoder: the KV memory, the attention of a step, and the rows that are wanted.

The only place where the engine's plan meets the model's tensors.
"""

from collections.abc import Callable, Sequence
from functools import partial

import torch
from torch import Tensor

from handful.engine.attention_native import plan_attention
from handful.engine.attention_torch import TorchAttention
from handful.engine.batch import Batch, build_batch
from handful.engine.kept_tiles import TileStore
from handful.engine.layer_states import LayerStates
from handful.engine.memory import KVMemory
from handful.engine.request import Work
from handful.engine.transfer import send
from handful.model.decoder import Attend, Decoder
from handful.model.ops.native.attention import AttentionKernel
from handful.model.spec import ModelSpec

# Makes the attention of one step.
AttentionOf = Callable[[Batch, KVMemory, ModelSpec], Attend]


KEPT_SHARE = 1 / 8  # of the size of the keys and values: most memory for runs that are kept in bytes, beside them


def choose_attention(decoder: Decoder, memory: KVMemory, *, native: bool) -> tuple[AttentionOf, TileStore | None]:
    """The native kernel where it is wanted and there is one for the decoder's type and place; torch's own otherwise."""
    kernel, store, in_bytes = None, None, decoder.attention_in_bytes
    if native and decoder.device.type == "cpu":
        kernel = AttentionKernel.find(decoder.dtype, decoder.spec.head_dim)
    if kernel is None:
        return TorchAttention, None
    if in_bytes and kernel.has_bytes:
        most = int((memory.keys.nbytes + memory.values.nbytes) * KEPT_SHARE)
        store = TileStore(decoder.spec, kernel.kept_tile_bytes(decoder.spec.head_dim), most)
    return partial(plan_attention, kernel, in_bytes, store), store


class Runner:
    """A decoder with its KV memory. `native=False` keeps to torch's own operations."""

    def __init__(self, decoder: Decoder, num_slots: int, *, native: bool = True) -> None:
        self.decoder = decoder
        self.spec = decoder.spec
        self.memory = KVMemory.allocate(decoder.spec, num_slots, decoder.dtype, decoder.device)
        self._attention_of, self._kept = choose_attention(decoder, self.memory, native=native)

    @torch.inference_mode()
    def run(self, works: Sequence[Work]) -> tuple[Sequence[Work], Tensor]:
        """Run a step. Returns its works in the order of their rows, and the wanted rows, normed, `[M, hidden]`."""
        batch = build_batch(works)
        attention = self._attention_of(batch, self.memory, self.spec)
        tokens, positions = send(batch.tokens, self.decoder.device), send(batch.positions, self.decoder.device)
        wanted = send(batch.wanted, self.decoder.device) if len(batch.wanted) < len(batch.tokens) else None
        states = LayerStates.of(batch, self.decoder.device)
        observe = None if states is None else states.take
        rows = self.decoder.final_norm(self.decoder.forward(tokens, positions, attention, wanted, observe))
        if self._kept is not None:
            self._kept.note_step()
        return batch.works, rows if states is None else states.put_into(rows)

    def logits(self, rows: Tensor) -> Tensor:
        """Wanted rows `[M, hidden]` -> `[M, vocabulary]` float32."""
        return self.decoder.logits(rows)

    def largest(self, rows: Tensor) -> Tensor:
        """Wanted rows `[M, hidden]` -> the token of each with the largest logit, `[M]` int64."""
        return self.decoder.largest(rows)

"""The attention of a step over sequences of unequal length: what GPUs run, and on a processor its twin in tests.

One call for everything that rows read by themselves, one more for each depth of shared runs, merged by log-sum-exp. The
keys of runs are read where they lie. Nothing here looks at a value on the device, so nothing waits, and a step of the
same shapes can be replayed (decode_graphs.py).
"""

from torch import Tensor

from handful.engine.memory import KVMemory
from handful.engine.step_reads import LayerReads, OwnReads, SharedReads, Step
from handful.model.ops.attention import merge
from handful.model.ops.varlen import CAUSAL, EVERYTHING, Sequences, Sight, Varlen
from handful.model.spec import ModelSpec


class VarlenAttention:
    """The attention of one step, layer by layer: store the new keys and values, then read by the plan."""

    def __init__(self, kernel: Varlen, step: Step[Tensor], memory: KVMemory, spec: ModelSpec) -> None:
        self._kernel, self._memory, self._spec = kernel, memory, spec
        self._slots = step.slots
        self._reads: dict[int | None, LayerReads[Tensor]] = {reads.window: reads for reads in step.reads}

    def __call__(self, layer: int, q: Tensor, k: Tensor, v: Tensor) -> Tensor:
        """q `[N, H, D]`, k and v `[N, Hkv, D]` of the step's tokens -> the attention's output `[N, H, D]`."""
        keys, values = self._memory.keys[layer], self._memory.values[layer]
        keys.index_copy_(0, self._slots, k)
        values.index_copy_(0, self._slots, v)
        reads = self._reads[self._spec.windows[layer]]
        out, lse = self._read_own(reads.own, reads.window, q, (keys, values))
        if not reads.shared:
            return out
        out, lse = out.float(), lse.transpose(0, 1)  # [N, H, D] and [N, H]
        for shared in reads.shared:
            out, lse = merge(out, lse, *self._read_shared(shared, q, (keys, values)))
        return out.to(q.dtype)

    def _read_own(
        self, own: OwnReads[Tensor], window: int | None, q: Tensor, kv: tuple[Tensor, Tensor]
    ) -> tuple[Tensor, Tensor]:
        k, v = (x.index_select(0, own.key_slots) for x in kv)
        sees = CAUSAL if window is None else (window - 1, 0)
        window_of_rows = EVERYTHING if own.max_q == 1 else sees  # a row by itself was given what it sees
        sequences = Sequences(own.cu_q, own.cu_k, own.max_q, own.max_k)
        return self._kernel(q, k, v, sequences, Sight(self._spec.attention_scale, window_of_rows))

    def _read_shared(self, read: SharedReads[Tensor], q: Tensor, kv: tuple[Tensor, Tensor]) -> tuple[Tensor, Tensor]:
        sequences = Sequences(read.cu_q, read.starts, read.max_q, read.max_k, read.lengths)
        out, lse = self._kernel(q.index_select(0, read.order), *kv, sequences, Sight(self._spec.attention_scale))
        out, lse = out.index_select(0, read.places).float(), lse.transpose(0, 1).index_select(0, read.places)
        return out, lse + read.absent[:, None]

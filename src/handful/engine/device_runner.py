"""Runs a step where the host must not wait: on a GPU. What the rows read goes over in one piece, nothing comes back.

The memory has one slot more than the scheduler knows of. Rows that only fill a step up read and write it.
"""

import logging
from collections.abc import Sequence

import torch
from torch import Tensor

from handful.engine.attention_varlen import VarlenAttention
from handful.engine.batch import Batch, build_batch
from handful.engine.cuda_capture import CudaCapture
from handful.engine.decode_graphs import MAX_ROWS, Capture, DecodeGraphs, power_of_two
from handful.engine.engine import StepRunner
from handful.engine.layer_states import LayerStates
from handful.engine.memory import KVMemory
from handful.engine.parcel import pack, unpack
from handful.engine.request import Work
from handful.engine.runner import Runner
from handful.engine.step_plan import plan_step
from handful.engine.step_reads import Step
from handful.engine.transfer import send
from handful.model.decoder import Decoder, Observe
from handful.model.ops.varlen import Varlen, varlen_kernel, why_no_varlen

log = logging.getLogger(__name__)


class DeviceRunner:
    """A decoder with its KV memory. Attention is `kernel`'s; with `capture`, decoding steps are recorded."""

    def __init__(self, decoder: Decoder, num_slots: int, kernel: Varlen, capture: Capture | None = None) -> None:
        self.decoder = decoder
        self.spec = decoder.spec
        self.memory = KVMemory.allocate(decoder.spec, num_slots + 1, decoder.dtype, decoder.device)
        self.memory.keys[:, num_slots].zero_()
        self.memory.values[:, num_slots].zero_()  # it is read with weight 0: must be a number
        self._scratch = num_slots
        self._windows = tuple(dict.fromkeys(decoder.spec.windows))
        self._kernel = kernel
        self.graphs = None if capture is None else DecodeGraphs(self._forward, capture, decoder.device)

    @torch.inference_mode()
    def run(self, works: Sequence[Work]) -> tuple[Sequence[Work], Tensor]:
        """Run a step. Returns its works in the order of their rows, and the wanted rows, normed, `[M, hidden]`."""
        batch = build_batch(works)
        states = LayerStates.of(batch, self.decoder.device)
        if self.graphs is not None and _is_decoding(batch) and states is None:
            rows = self.graphs.run(plan_step(batch, self._windows, self._scratch, power_of_two))
            if rows is not None:
                return batch.works, rows[: len(batch.wanted)]
        step = plan_step(batch, self._windows, self._scratch)
        places, data = pack(step.arrays())
        there = step.with_arrays(unpack(places, send(data, self.decoder.device)))
        rows = self._forward(there, None if states is None else states.take)
        return batch.works, rows if states is None else states.put_into(rows)

    def logits(self, rows: Tensor) -> Tensor:
        """Wanted rows `[M, hidden]` -> `[M, vocabulary]` float32."""
        return self.decoder.logits(rows)

    def largest(self, rows: Tensor) -> Tensor:
        """Wanted rows `[M, hidden]` -> the token of each with the largest logit, `[M]` int64."""
        return self.decoder.largest(rows)

    def _forward(self, step: Step[Tensor], observe: Observe | None = None) -> Tensor:
        attention = VarlenAttention(self._kernel, step, self.memory, self.spec)
        hidden = self.decoder.forward(step.tokens, step.positions, attention, step.wanted, observe)
        return self.decoder.final_norm(hidden)


def _is_decoding(batch: Batch) -> bool:
    """Whether each request runs one row, and that row is wanted."""
    return len(batch.tokens) == len(batch.wanted) == len(batch.works) <= MAX_ROWS


def make_runner(decoder: Decoder, num_slots: int, *, graphs: bool = True) -> StepRunner:
    """The fastest runner for the decoder's place and type; where it is not the GPU's own, the log says why."""
    if decoder.device.type != "cuda":
        return Runner(decoder, num_slots)
    why = why_no_varlen(decoder.dtype, decoder.spec.head_dim, decoder.device)
    if why is not None:
        log.warning("attention runs on torch's plain operations, slower than torch's varlen kernel: %s", why)
        return Runner(decoder, num_slots)
    return DeviceRunner(decoder, num_slots, varlen_kernel(), CudaCapture() if graphs else None)

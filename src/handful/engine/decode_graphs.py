"""Steps in which each request runs one row, recorded once and replayed: a GPU then gets one order instead of hundreds.

    plan, sizes rounded up  ->  its shapes  ->  recorded?  yes: its bytes over the old ones, replay
                                                           no:  record it on a place for these bytes, replay

A recording holds places of memory, not values, so a step can be replayed by any step whose arrays have the same shapes.
Rows, keys and sequences are rounded up to powers of two (step_plan.py), so that there are few. What records is passed
in: on a GPU `CudaCapture` (cuda_capture.py), in tests something that runs the step again.
"""

import logging
from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor

from handful.engine.parcel import pack, unpack
from handful.engine.step_reads import Array, Step
from handful.engine.transfer import refill, send

log = logging.getLogger(__name__)

Run = Callable[[], Tensor]
Capture = Callable[[Run], Run]  # something to run -> what runs it again, on the same places of memory
Shape = tuple[tuple[int, ...], str]

MAX_ROWS = 256  # a step of more rows keeps a GPU busy while the next order is given
MAX_RECORDED = 64  # each holds its result and a few kilobytes; what it needs in between they share


def power_of_two(size: int) -> int:
    """The next power of two, at least 1."""
    return 1 << max(size - 1, 0).bit_length()


@dataclass(frozen=True, slots=True, eq=False)
class Recorded:
    """The bytes that a recorded step reads, and what replays it."""

    data: Tensor
    replay: Run


class DecodeGraphs:
    """The recorded steps. Where recording fails once, nothing is recorded any more."""

    def __init__(self, forward: Callable[[Step[Tensor]], Tensor], capture: Capture, device: torch.device) -> None:
        self._forward, self._device = forward, device
        self._capture: Capture | None = capture
        self._recorded: dict[Step[Shape], Recorded] = {}  # the one used last is the last

    @property
    def num_recorded(self) -> int:
        """How many steps are recorded."""
        return len(self._recorded)

    def run(self, step: Step[Array]) -> Tensor | None:
        """Run a step; its result `[M, hidden]` is good until the next one. None: run it otherwise."""
        shapes = step.map(_shape)
        recorded = self._recorded.pop(shapes, None)
        if recorded is None:
            recorded = self._record(step)
            if recorded is None:
                return None
        else:
            refill(recorded.data, pack(step.arrays())[1])
        self._recorded[shapes] = recorded
        if len(self._recorded) > MAX_RECORDED:
            del self._recorded[next(iter(self._recorded))]
        return recorded.replay()

    def _record(self, step: Step[Array]) -> Recorded | None:
        if self._capture is None:
            return None
        places, data = pack(step.arrays())
        held = send(data, self._device)
        there = step.with_arrays(unpack(places, held))
        try:
            return Recorded(held, self._capture(lambda: self._forward(there)))
        except Exception as error:  # noqa: BLE001 - whatever it is, the step can still be run as it is
            log.warning("steps can't be recorded as CUDA graphs (%s); decoding goes on without, slower", error)
            self._capture = None
            return None


def _shape(array: Array) -> Shape:
    return array.shape, array.dtype.name

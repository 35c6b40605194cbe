"""Shared runs in bytes, kept from step to step: made when a step first reads them so, and not again in every step.

What a complete segment holds never changes. Where one is split, what was kept of it is dropped; where it leaves the
tree, that goes with it.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from weakref import WeakKeyDictionary

import torch

from handful.engine.batch import Run
from handful.engine.segments import Segment
from handful.model.ops.native.attention import AttentionKernel, KeptTiles
from handful.model.spec import ModelSpec

TILE_KEYS = 64


@dataclass(slots=True, eq=False)
class _Kept:
    start: int
    length: int
    tiles: KeptTiles
    last_step: int

    def is_of(self, segment: Segment) -> bool:
        return (self.start, self.length) == (segment.start, len(segment.tokens))


class TileStore:
    """The tiles of runs, `most_bytes` of them in all; those go first that were not read for longest."""

    def __init__(self, kernel: AttentionKernel, spec: ModelSpec, most_bytes: int) -> None:
        self.most_bytes = most_bytes
        self._shape = (spec.num_layers, spec.num_kv_heads)
        self._tile_bytes = kernel.kept_tile_bytes(spec.head_dim)
        self._kept: WeakKeyDictionary[Segment, _Kept] = WeakKeyDictionary()
        self._step = 0

    @property
    def num_bytes(self) -> int:
        """Bytes that are kept."""
        return sum(kept.tiles.memory.nbytes for kept in self._kept.values())

    def holds(self, run: Run) -> bool:
        """Whether a run's tiles are there, filled."""
        kept = self._kept.get(run.segment)
        return kept is not None and kept.tiles.filled and kept.is_of(run.segment)

    def plan(self, runs: Sequence[Run], marked: Sequence[bool]) -> tuple[KeptTiles | None, ...]:
        """A step's tiles of the runs that are marked; None for the others, and where there is no room."""
        self._step += 1
        return tuple(self._tiles(run.segment) if wanted else None for run, wanted in zip(runs, marked, strict=True))

    def note_step(self) -> None:
        """The step that was planned last has run: its tiles are filled."""
        for kept in self._kept.values():
            if kept.last_step == self._step:
                kept.tiles = replace(kept.tiles, filled=True)

    def _tiles(self, segment: Segment) -> KeptTiles | None:
        kept = self._kept.get(segment)
        if kept is None or not kept.is_of(segment):
            self._kept.pop(segment, None)
            shape = (*self._shape, -(-len(segment.tokens) // TILE_KEYS), self._tile_bytes)
            if not self._make_room(torch.Size(shape).numel()):
                return None
            tiles = KeptTiles(torch.empty(shape, dtype=torch.uint8), filled=False)
            kept = self._kept[segment] = _Kept(segment.start, len(segment.tokens), tiles, self._step)
        kept.last_step = self._step
        return kept.tiles

    def _make_room(self, num_bytes: int) -> bool:
        """Drop what this step doesn't read until so many bytes fit."""
        idle = sorted((s for s, k in self._kept.items() if k.last_step < self._step), key=self._last_step)
        while self.num_bytes + num_bytes > self.most_bytes and idle:
            del self._kept[idle.pop(0)]
        return self.num_bytes + num_bytes <= self.most_bytes

    def _last_step(self, segment: Segment) -> int:
        return self._kept[segment].last_step

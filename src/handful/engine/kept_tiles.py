"""Runs in bytes, kept from step to step: made when a step first reads them, and not again in every step.

What a complete segment holds never changes. Where one is split, what was kept of it is dropped; where it leaves the
tree, that goes with it.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from weakref import WeakKeyDictionary

import torch

from handful.engine.batch import Run
from handful.engine.segments import Segment
from handful.model.ops.native.attention import TILE_KEYS, KeptTiles
from handful.model.spec import ModelSpec

BUSY_STEPS = 64  # what is shared and was read within so many steps is not dropped


@dataclass(slots=True, eq=False)
class _Kept:
    start: int
    length: int
    tiles: KeptTiles
    last_step: int
    is_shared: bool

    def is_of(self, segment: Segment) -> bool:
        return (self.start, self.length) == (segment.start, len(segment.tokens))


class TileStore:
    """The tiles of runs, each of `tile_bytes` for 64 keys under a key head of a layer, `most_bytes` of them in all.

    Room is made by dropping those that were not read for longest, but none of a shared run that was read a moment ago:
    tasks that take turns would only drive each other out. What only one request reads makes room for what is shared.
    """

    def __init__(self, spec: ModelSpec, tile_bytes: int, most_bytes: int) -> None:
        self.most_bytes = most_bytes
        self._shape = (spec.num_layers, spec.num_kv_heads)
        self._tile_bytes = tile_bytes
        self._kept: WeakKeyDictionary[Segment, _Kept] = WeakKeyDictionary()
        self._step = 0
        self._refused: dict[bool, int] = {}  # the fewest bytes that found no room in this step: shared, or not
        self._filling: list[_Kept] = []  # whose tiles this step fills

    @property
    def num_bytes(self) -> int:
        """Bytes that are kept."""
        return sum(kept.tiles.memory.nbytes for kept in self._kept.values())

    def plan(self, runs: Sequence[Run], shared: Sequence[bool]) -> tuple[KeptTiles | None, ...]:
        """A step's tiles of its runs, made for `shared` ones first; None for less than a tile, and where no room is."""
        self._step += 1
        self._refused.clear()
        self._filling.clear()
        in_order = sorted(range(len(runs)), key=lambda number: not shared[number])
        tiles = {number: self._tiles(runs[number].segment, is_shared=shared[number]) for number in in_order}
        return tuple(tiles[number] for number in range(len(runs)))

    def note_step(self) -> None:
        """The step that was planned last has run: its tiles are filled."""
        for kept in self._filling:
            kept.tiles = replace(kept.tiles, filled=True)
        self._filling.clear()

    def _tiles(self, segment: Segment, *, is_shared: bool) -> KeptTiles | None:
        kept = self._kept.get(segment)
        if kept is None or not kept.is_of(segment):
            self._kept.pop(segment, None)
            kept = self._make(segment, is_shared=is_shared) if len(segment.tokens) >= TILE_KEYS else None
        if kept is None:
            return None
        kept.last_step, kept.is_shared = self._step, is_shared
        if not kept.tiles.filled:
            self._filling.append(kept)
        return kept.tiles

    def _make(self, segment: Segment, *, is_shared: bool) -> _Kept | None:
        length = len(segment.tokens)
        shape = torch.Size((*self._shape, -(-length // TILE_KEYS), self._tile_bytes))
        if self._refused.get(is_shared, shape.numel() + 1) <= shape.numel():
            return None
        if not self._has_room(shape.numel(), is_shared=is_shared):
            self._refused[is_shared] = shape.numel()
            return None
        tiles = KeptTiles(torch.empty(shape, dtype=torch.uint8), filled=False)
        self._kept[segment] = kept = _Kept(segment.start, length, tiles, self._step, is_shared)
        return kept

    def _has_room(self, num_bytes: int, *, is_shared: bool) -> bool:
        """Whether so many bytes fit, which other tiles may have to make room for."""
        missing = self.num_bytes + num_bytes - self.most_bytes
        idle = sorted(self._droppable(is_shared=is_shared), key=lambda segment: self._kept[segment].last_step)
        if missing > sum(self._kept[segment].tiles.memory.nbytes for segment in idle):
            return False
        for segment in idle:
            if missing <= 0:
                break
            missing -= self._kept.pop(segment).tiles.memory.nbytes
        return True

    def _droppable(self, *, is_shared: bool) -> list[Segment]:
        """What may go: what is idle, and for a shared run what only one request reads, unless it is read just now."""
        idle = self._step - BUSY_STEPS
        return [
            segment
            for segment, kept in self._kept.items()
            if kept.last_step < (self._step if is_shared and not kept.is_shared else idle)
        ]

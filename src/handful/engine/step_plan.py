"""What the rows of a step read of the KV memory, worked out on the host: plain integers, once a step for all layers.

    shared   a run that is complete before the step, for all its rows
    own      its request's private part, causally. A node of a label trie is a sequence of its own, whose keys are the
             context and the node's ancestors.

Behind a window (GPT-Neo's local layers) a run is read from where all its rows see it, and what only some of them still
see is theirs to gather. Rows that run many tokens of one request at once gather all of their window.

Sizes may be rounded up: rows that are too many read and write the scratch slot, which belongs to nobody.
"""

from bisect import bisect_left
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from itertools import groupby

import numpy as np
from numpy.typing import NDArray

from handful.engine.batch import Batch, Integers, Placed, Run, Window, slots_of
from handful.engine.request import ScoreLabels
from handful.engine.step_reads import Array, LayerReads, OwnReads, SharedReads, Step

RoundUp = Callable[[int], int]

NO_SLOTS: Integers = np.zeros(0, dtype=np.int64)


@dataclass(frozen=True, slots=True)
class Chain:
    """Neighbouring rows of a request that see each other causally, and the slots of their context by position.

    From `own_from` on the context is in no run. `nodes` are slots behind it: of a trie's node, its ancestors and it.
    """

    row: int
    num_rows: int
    slots: Integers
    own_from: int
    nodes: Integers = field(default_factory=lambda: NO_SLOTS)

    @property
    def position(self) -> int:
        """Of its first row."""
        return len(self.slots) + len(self.nodes) - self.num_rows

    def sees_from(self, window: Window) -> int:
        """The first position that its first row sees."""
        return 0 if window is None else max(0, self.position - window + 1)


@dataclass(frozen=True, slots=True)
class SharedRead:
    """A run at its depth in the tree of runs, read from the position `first` on for `rows`."""

    run: Run
    depth: int
    first: int
    rows: Integers

    @property
    def start(self) -> int:
        """The first slot."""
        return self.run.segment.start + self.first - self.run.segment.position

    @property
    def length(self) -> int:
        """How many keys; none where no key is seen by all rows."""
        return max(0, self.run.segment.end - self.first) if len(self.rows) else 0


def plan_step(batch: Batch, windows: Sequence[Window], scratch: int, round_up: RoundUp = int) -> Step[Array]:
    """Everything that a step's tensors are made of.

    `windows` are the model's, each once; `scratch` is the last slot of the memory. Sizes are rounded up by `round_up`.
    """
    num_rows, size = len(batch.tokens), round_up(len(batch.tokens))
    spare = np.arange(num_rows, size)
    nowhere = np.array([scratch])
    chains = [*_chains(batch.placed), *(Chain(int(row), 1, nowhere, 0) for row in spare)]
    return Step(
        tokens=_padded(batch.tokens, size, 0),
        positions=_padded(batch.positions, size, 0),
        slots=_padded(batch.slots, size, scratch),
        wanted=np.concatenate((batch.wanted, spare)),
        reads=tuple(_plan_layer(batch.runs, chains, window, (scratch, round_up)) for window in windows),
    )


def _chains(placed: Sequence[Placed]) -> Iterator[Chain]:
    for p in placed:
        work, request, slots = p.work, p.work.request, slots_of(p.work.request)
        end = work.first + work.count
        causal_end = min(end, request.num_shared + 1) if isinstance(request.goal, ScoreLabels) else end
        if causal_end > work.first:
            yield Chain(p.row, causal_end - work.first, slots[:causal_end], p.private_from)
        if isinstance(request.goal, ScoreLabels):
            shared = request.num_shared
            for index in range(max(causal_end, work.first), end):
                seen = shared + np.array(request.goal.trie.ancestors(index - shared))
                yield Chain(p.row + index - work.first, 1, slots[: shared + 1], p.private_from, slots[seen])


def _plan_layer(
    runs: Sequence[Run], chains: Sequence[Chain], window: Window, how: tuple[int, RoundUp]
) -> LayerReads[Array]:
    scratch, round_up = how
    found = [_shared_read(run, depth, chains, window) for run, depth in zip(runs, _depths(runs), strict=True)]
    num_rows = chains[-1].row + chains[-1].num_rows
    by_depth = sorted((read for read in found if read.length), key=lambda read: (read.depth, read.start))
    shared = [
        _together(list(group), num_rows, (scratch, round_up)) for _, group in groupby(by_depth, lambda read: read.depth)
    ]
    return LayerReads(window, _own_reads(chains, found, window, (scratch, round_up)), tuple(shared))


def _row(chain: Chain) -> int:
    return chain.row


def _depths(runs: Sequence[Run]) -> list[int]:
    depths: dict[int, int] = {}
    for run in runs:
        depths[id(run.segment)] = depths.get(id(run.segment.parent), -1) + 1
    return [depths[id(run.segment)] for run in runs]


def _shared_read(run: Run, depth: int, chains: Sequence[Chain], window: Window) -> SharedRead:
    """What all of a run's rows see of it. Behind a window only rows that stand alone in their chain are meant."""
    first = run.segment.position
    if window is None:
        return SharedRead(run, depth, first, np.arange(run.first_row, run.end_row))
    readers = chains[bisect_left(chains, run.first_row, key=_row) : bisect_left(chains, run.end_row, key=_row)]
    alone = [chain for chain in readers if chain.num_rows == 1]
    if alone:
        first = max(first, *(chain.sees_from(window) for chain in alone))
    return SharedRead(run, depth, first, np.array([chain.row for chain in alone], dtype=np.int64))


def _own_reads(
    chains: Sequence[Chain], shared: Sequence[SharedRead], window: Window, how: tuple[int, RoundUp]
) -> OwnReads[Array]:
    scratch, round_up = how
    behind: dict[int, list[SharedRead]] = {}
    for read in shared:
        for row in read.rows.tolist():
            behind.setdefault(row, []).append(read)
    keys = [_own_keys(chain, behind.get(chain.row, ()), window) for chain in chains]
    lengths = [len(each) for each in keys]
    return OwnReads(
        key_slots=_padded(np.concatenate(keys), round_up(sum(lengths)), scratch),
        cu_q=_offsets([chain.num_rows for chain in chains]),
        cu_k=_offsets(lengths),
        max_q=max(chain.num_rows for chain in chains),
        max_k=round_up(max(lengths)),
    )


def _own_keys(chain: Chain, shared: Sequence[SharedRead], window: Window) -> Integers:
    """The slots that a chain reads by itself; where it has several rows, those of neighbouring positions.

    `shared` are the runs it stands behind, first things first.
    """
    seen = chain.sees_from(window)
    if window is None:
        parts = [chain.slots[chain.own_from :]]
    elif chain.num_rows > 1:
        parts = [chain.slots[seen:]]
    else:
        parts = [chain.slots[max(r.run.segment.position, seen) : min(r.first, r.run.segment.end)] for r in shared]
        parts.append(chain.slots[max(chain.own_from, seen) :])
    return np.concatenate((*parts, chain.nodes[max(0, seen - len(chain.slots)) :]))


def _together(reads: list[SharedRead], num_rows: int, how: tuple[int, RoundUp]) -> SharedReads[Array]:
    """Reads at one depth, in the order of their slots. The last sequence is that of the rows that read none."""
    scratch, round_up = how
    taken = np.concatenate([read.rows for read in reads])
    absent = np.ones(num_rows, dtype=np.bool_)
    absent[taken] = False
    order = np.concatenate((taken, np.flatnonzero(absent)))
    num_empty = round_up(len(reads) + 1) - len(reads) - 1
    counts = [*(len(read.rows) for read in reads), *[0] * num_empty, int(absent.sum())]
    lengths = [*(read.length for read in reads), *[0] * num_empty, 1]
    return SharedReads(
        order=order,
        places=np.argsort(order),
        absent=np.where(absent, np.float32("-inf"), np.float32(0)),
        cu_q=_offsets(counts),
        starts=np.array([*(r.start for r in reads), *[scratch] * (num_empty + 1), scratch + 1], dtype=np.int32),
        lengths=np.array(lengths, dtype=np.int32),
        max_q=max(2, round_up(max(counts))),  # not 1: then every sequence would have to have a row
        max_k=round_up(max(lengths)),
    )


def _offsets(counts: Sequence[int]) -> NDArray[np.int32]:
    return np.concatenate(([0], np.cumsum(counts))).astype(np.int32)


def _padded(values: Integers, size: int, value: int) -> Integers:
    return np.concatenate((values, np.full(size - len(values), value)))

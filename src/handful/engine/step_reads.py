"""A step as arrays: its rows, and what they read, for attention over sequences of unequal length (model/ops/varlen.py).

    shared   runs, read where they lie, each for all its rows stacked as one sequence. Those at one depth of the tree
             are one call, since no row reads two of them.
    own      whatever else a row sees, gathered end to end

step_plan.py makes one on the host. `Step.map` sends it, or tells its shapes, from which a recorded step is found again
(decode_graphs.py).
"""

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Any, Generic, TypeVar

from numpy.typing import NDArray

from handful.engine.batch import Window

Array = NDArray[Any]
A = TypeVar("A")
B = TypeVar("B")


@dataclass(frozen=True, slots=True)
class OwnReads(Generic[A]):
    """Sequences in the order of the rows: `cu_q` divides the rows, `cu_k` the keys in `key_slots` `[T]`."""

    key_slots: A
    cu_q: A
    cu_k: A
    max_q: int
    max_k: int

    def map(self, f: Callable[[A], B]) -> "OwnReads[B]":
        """The same with f of each array."""
        return OwnReads(f(self.key_slots), f(self.cu_q), f(self.cu_k), self.max_q, self.max_k)


@dataclass(frozen=True, slots=True)
class SharedReads(Generic[A]):
    """Runs at one depth. `order` `[N]` are the rows by run, those that read none last, `places` `[N]` where each is.

    `cu_q` divides `order`; `starts` are slots, ascending, `lengths` how many are read. `absent` `[N]` float32 is
    -inf for the rows that read none (what they get instead is the scratch slot), else 0.
    """

    order: A
    places: A
    absent: A
    cu_q: A
    starts: A
    lengths: A
    max_q: int
    max_k: int

    def map(self, f: Callable[[A], B]) -> "SharedReads[B]":
        """The same with f of each array."""
        rows = f(self.order), f(self.places), f(self.absent)
        return SharedReads(*rows, f(self.cu_q), f(self.starts), f(self.lengths), self.max_q, self.max_k)


@dataclass(frozen=True, slots=True)
class LayerReads(Generic[A]):
    """What is read in layers with this window."""

    window: Window
    own: OwnReads[A]
    shared: tuple[SharedReads[A], ...]

    def map(self, f: Callable[[A], B]) -> "LayerReads[B]":
        """The same with f of each array."""
        return LayerReads(self.window, self.own.map(f), tuple(each.map(f) for each in self.shared))


@dataclass(frozen=True, slots=True)
class Step(Generic[A]):
    """A step: its rows as in `Batch`, and what they read, once for each window of the model."""

    tokens: A
    positions: A
    slots: A
    wanted: A
    reads: tuple[LayerReads[A], ...]

    def map(self, f: Callable[[A], B]) -> "Step[B]":
        """The same with f of each array, in an order that never changes."""
        rows = f(self.tokens), f(self.positions), f(self.slots), f(self.wanted)
        return Step(*rows, tuple(each.map(f) for each in self.reads))

    def arrays(self) -> list[A]:
        """All arrays, in that order."""
        found: list[A] = []
        self.map(found.append)
        return found

    def with_arrays(self, others: Iterable[B]) -> "Step[B]":
        """The same with other arrays, in that order."""
        left = iter(others)
        return self.map(lambda _: next(left))

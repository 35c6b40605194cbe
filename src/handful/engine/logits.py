"""Rows of logits as the host reads them, wherever they were computed.

On the processor they are read where they lie. From a GPU comes what is needed, all at once: of every row the index of
its largest value, and the whole row only for those whose request asks for more than that.
"""

from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Protocol

from torch import Tensor

from handful.engine.transfer import fetch, pick


class Rows(Protocol):
    """Rows of logits on the host."""

    def __getitem__(self, row: int, /) -> Tensor:
        """`[vocabulary]` float32, to be changed in place."""
        ...

    def largest(self) -> list[int]:
        """The index of each row's largest value, changes included."""
        ...

    def take(self, rows: list[int]) -> "Rows":
        """Some of the rows."""
        ...


@dataclass(frozen=True, slots=True)
class HostRows:
    """Rows in the host's memory, `[rows, vocabulary]`."""

    values: Tensor

    def __getitem__(self, row: int, /) -> Tensor:
        return self.values[row]

    def largest(self) -> list[int]:
        """NumPy finds it several times faster than torch."""
        indices: list[int] = self.values.numpy().argmax(-1).tolist()
        return indices

    def take(self, rows: list[int]) -> "HostRows":
        """See `Rows.take`."""
        return HostRows(pick(self.values, rows))


@dataclass(frozen=True, slots=True)
class FetchedRows:
    """What came from a device: each row's largest index, and some rows whole."""

    best: list[int]
    whole: dict[int, Tensor] = field(default_factory=dict)

    def __getitem__(self, row: int, /) -> Tensor:
        return self.whole[row]

    def largest(self) -> list[int]:
        """See `Rows.largest`."""
        return [int(self.whole[row].argmax()) if row in self.whole else best for row, best in enumerate(self.best)]

    def take(self, rows: list[int]) -> "FetchedRows":
        """See `Rows.take`."""
        whole = {new: self.whole[old] for new, old in enumerate(rows) if old in self.whole}
        return FetchedRows([self.best[row] for row in rows], whole)


def read_rows(logits: Tensor, is_whole: Iterable[bool]) -> Rows:
    """Logits `[rows, vocabulary]` float32 for the host; from a device come whole only the rows that `is_whole`."""
    if logits.device.type == "cpu":
        return HostRows(logits)
    best = logits.argmax(-1)
    wanted = [row for row, whole in enumerate(is_whole) if whole]
    if not wanted:
        return FetchedRows(fetch(best)[0].tolist())
    fetched, values = fetch(best, pick(logits, wanted))
    return FetchedRows(fetched.tolist(), dict(zip(wanted, values, strict=True)))

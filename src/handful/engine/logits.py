"""Rows of logits as the host reads them, wherever they were computed.

Where no request asks for more than the index of its row's largest value, the head is asked for nothing else. Otherwise
rows are read where they lie on the processor, and from a GPU comes what is needed, all at once: of every row that
index, and the whole row only for those whose request asks for more.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Protocol

from torch import Tensor

from handful.engine.transfer import fetch, pick
from handful.model.ops.head import largest_of


class ModelHead(Protocol):
    """From hidden states to logits."""

    def logits(self, rows: Tensor) -> Tensor:
        """Wanted rows `[M, hidden]` -> `[M, vocabulary]` float32."""
        ...

    def largest(self, rows: Tensor) -> Tensor:
        """Wanted rows `[M, hidden]` -> the token of each with the largest logit, `[M]` int64."""
        ...


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
        """See `Rows.largest`."""
        indices: list[int] = largest_of(self.values).tolist()
        return indices

    def take(self, rows: list[int]) -> "HostRows":
        """See `Rows.take`."""
        return HostRows(pick(self.values, rows))


@dataclass(frozen=True, slots=True)
class FetchedRows:
    """What was fetched: each row's largest index, and some rows whole."""

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


def read_rows(head: ModelHead, rows: Tensor, is_whole: Sequence[bool]) -> Rows:
    """The logits of rows `[M, hidden]`, as far as they are needed: whole only those that `is_whole`, if any."""
    if not any(is_whole):
        return FetchedRows(fetch(head.largest(rows))[0].tolist())
    logits = head.logits(rows)
    if logits.device.type == "cpu":
        return HostRows(logits)
    wanted = [row for row, whole in enumerate(is_whole) if whole]
    best, values = fetch(logits.argmax(-1), pick(logits, wanted))
    return FetchedRows(best.tolist(), dict(zip(wanted, values, strict=True)))

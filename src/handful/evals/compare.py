"""Two runs over the same queries: what changed, and whether more than luck did.

Rows are paired by what both runs have in common (predictor, wording, shots ...); a coordinate that has one value in
each run and differs is what is compared. A query's score is its share of right answers over a row's sets and orders.
"""

import json
from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from handful.errors import InvalidInputError
from handful.evals.intervals import Interval, mcnemar, paired_difference
from handful.evals.journal import SCHEMA, Written
from handful.evals.summary import SERIES, Group, groups_of
from handful.evals.tables import Table

Query = str


@dataclass(frozen=True, slots=True, kw_only=True)
class Change:
    """A query that is answered otherwise: its shares of right answers, and one answer of each run."""

    input: Any
    expected: str
    first: str | None
    second: str | None
    first_score: float
    second_score: float

    def to_dict(self) -> dict[str, Any]:
        """Plain values."""
        names = ("input", "expected", "first", "second", "first_score", "second_score")
        return {name: getattr(self, name) for name in names}


@dataclass(frozen=True, slots=True, kw_only=True)
class Comparison:
    """One pair of rows.

    difference  second - first, with the paired bootstrap's interval
    p_value     McNemar's exact test; None where a query was asked more than once, so that answers are no single pairs
    """

    series: Mapping[str, Any]
    first: float
    second: float
    difference: Interval
    p_value: float | None
    num_queries: int
    changes: tuple[Change, ...]

    @property
    def num_gained(self) -> int:
        """Queries answered better by the second run."""
        return sum(change.second_score > change.first_score for change in self.changes)

    @property
    def num_lost(self) -> int:
        """Queries answered better by the first run."""
        return sum(change.second_score < change.first_score for change in self.changes)

    @property
    def verdict(self) -> str:
        """In words: whether zero lies within the interval."""
        if self.difference.low > 0:
            return "better"
        return "worse" if self.difference.high < 0 else "no clear difference"

    def to_dict(self) -> dict[str, Any]:
        """Plain values."""
        return {
            **self.series,
            "first": self.first,
            "second": self.second,
            "difference": self.difference.to_dict(),
            "p_value": self.p_value,
            "verdict": self.verdict,
            "num_queries": self.num_queries,
            "num_gained": self.num_gained,
            "num_lost": self.num_lost,
            "changes": [change.to_dict() for change in self.changes],
        }


def compare(first: Written, second: Written) -> list[Comparison]:
    """The pairs of rows of two runs. Raises `InvalidInputError` where they have no queries or no rows in common."""
    for written in (first, second):
        if written.run.kind != "eval":
            raise InvalidInputError("Only evaluations are compared.", fix="Give folders that `handful eval` wrote.")
    one, other = groups_of(first), groups_of(second)
    if bool(first.run.plan["labels"]) != bool(second.run.plan["labels"]):
        raise InvalidInputError("One run is of labels, the other of free text: they can't be compared.")
    names = _common_names(one, other)
    wanted = {_key(row, names): row for row in other}
    pairs = [(row, wanted[_key(row, names)]) for row in one if _key(row, names) in wanted]
    if not pairs:
        fix = "Evaluate both with the same --shots and --predictor."
        raise InvalidInputError("The two runs have no setting in common.", fix=fix)
    return [_compare_rows(*pair, names) for pair in pairs]


def comparison_json(found: Sequence[Comparison]) -> str:
    """One JSON object (schema 1)."""
    return json.dumps({"schema": SCHEMA, "rows": [one.to_dict() for one in found]}, ensure_ascii=False)


def comparison_table(found: Sequence[Comparison]) -> Table:
    """A row for each pair."""
    names = tuple(found[0].series)
    header = (*names, "first", "second", "difference", "p", "gained", "lost", "queries", "second is")
    return Table("Second minus first; intervals are the paired bootstrap's.", header, tuple(map(_cells, found)))


def _cells(one: Comparison) -> tuple[str, ...]:
    difference = f"{one.difference.mean:+.3f} [{one.difference.low:+.3f}, {one.difference.high:+.3f}]"
    p_value = "" if one.p_value is None else f"{one.p_value:.3g}"
    counts = (str(one.num_gained), str(one.num_lost), str(one.num_queries))
    series = (str(value) for value in one.series.values())
    return (*series, f"{one.first:.3f}", f"{one.second:.3f}", difference, p_value, *counts, one.verdict)


def _common_names(one: Sequence[Group], other: Sequence[Group]) -> list[str]:
    """The coordinates that rows are paired by."""

    def is_compared(name: str) -> bool:
        there, here = ({row.series[name] for row in rows} for rows in (one, other))
        return len(there) == len(here) == 1 and there != here

    names = [name for name in SERIES if not is_compared(name)]
    return names or ["shots"]


def _key(row: Group, names: Sequence[str]) -> tuple[Any, ...]:
    return tuple(row.series[name] for name in names)


def _compare_rows(first: Group, second: Group, names: Sequence[str]) -> Comparison:
    before, after = _answers(first), _answers(second)
    shared = [query for query in before if query in after]
    if not shared:
        fix = "Evaluate both with the same --data and --limit."
        raise InvalidInputError("The two runs have no query in common.", fix=fix)
    scores = np.array([[_score(before[query]), _score(after[query])] for query in shared])
    changes = tuple(
        _change(before[query], after[query]) for query, (old, new) in zip(shared, scores, strict=True) if old != new
    )
    is_single = all(len(found[query]) == 1 for found in (before, after) for query in shared)
    gains = scores[:, 1] - scores[:, 0]
    return Comparison(
        series={name: first.series[name] for name in names},
        first=float(scores[:, 0].mean()),
        second=float(scores[:, 1].mean()),
        difference=paired_difference(scores[:, 0], scores[:, 1]),
        p_value=mcnemar(int((gains < 0).sum()), int((gains > 0).sum())) if is_single else None,
        num_queries=len(shared),
        changes=changes,
    )


def _answers(row: Group) -> dict[Query, list[Mapping[str, Any]]]:
    """The records of each query, told by its text and expected answer, whatever place it had in its run."""
    found: dict[Query, list[Mapping[str, Any]]] = defaultdict(list)
    for _, records in row.cells:
        for record in records:
            found[json.dumps([record["input"], record["expected"]], sort_keys=True)].append(record)
    return found


def _is_right(record: Mapping[str, Any]) -> bool:
    return bool((record["prediction"] or "").strip() == record["expected"].strip())


def _score(records: Sequence[Mapping[str, Any]]) -> float:
    return sum(map(_is_right, records)) / len(records)


def _change(before: Sequence[Mapping[str, Any]], after: Sequence[Mapping[str, Any]]) -> Change:
    return Change(
        input=before[0]["input"],
        expected=before[0]["expected"],
        first=before[0]["prediction"],
        second=after[0]["prediction"],
        first_score=_score(before),
        second_score=_score(after),
    )

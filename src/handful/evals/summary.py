"""From records to numbers: each cell's metrics, and the rows of the table, with intervals.

A row joins the cells that differ only in example set and order. The orders of one set are averaged first: they share
their examples, so they are no independent draws.
"""

import math
import statistics
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from handful.errors import InvalidInputError
from handful.evals.intervals import ROUNDING, Interval, bootstrap, t_interval
from handful.evals.journal import Key, Written
from handful.evals.metrics import LabelAnswers, Values, label_metrics
from handful.evals.text_metrics import text_intervals, text_metrics

Record = Mapping[str, Any]

# What the cells of a row have in common.
SERIES = ("model", "template", "predictor", "shots")
# The metric that a run is judged by, and those where less is better.
LABEL_METRIC, TEXT_METRIC = "accuracy", "exact_match"
LESS_IS_BETTER = ("log_loss", "ece")
_BOUNDS = {"log_loss": (0.0, math.inf), "chrf": (0.0, 100.0), "bleu": (0.0, 100.0)}


@dataclass(frozen=True, slots=True)
class CellResult:
    """One cell: its coordinates, metrics and records."""

    cell: Mapping[str, Any]
    values: Values
    records: tuple[Record, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class ResultRow:
    """Cells that differ only in example set and order.

    method  "t" over example sets, or "bootstrap" over queries where there is one set
    queries_per_s  None where no cell was timed
    """

    series: Mapping[str, Any]
    metrics: Mapping[str, Interval]
    deviations: Mapping[str, float]
    method: str
    num_sets: int
    num_orders: int
    num_queries: int
    num_errors: int
    queries_per_s: float | None
    cells: tuple[CellResult, ...]

    def to_dict(self) -> dict[str, Any]:
        """Plain values, without the records."""
        return {
            **self.series,
            "num_sets": self.num_sets,
            "num_orders": self.num_orders,
            "num_queries": self.num_queries,
            "num_errors": self.num_errors,
            "queries_per_s": self.queries_per_s,
            "interval": self.method,
            "metrics": {
                name: interval.to_dict() | {"deviation": self.deviations[name]}
                for name, interval in self.metrics.items()
            },
        }


@dataclass(frozen=True, slots=True, kw_only=True)
class Summary:
    """All rows of a run, and what a reader must know about them. `labels` is empty for open tasks."""

    labels: tuple[str, ...]
    rows: tuple[ResultRow, ...]
    remarks: tuple[str, ...]

    @property
    def metric(self) -> str:
        """The metric that the run is judged by."""
        return LABEL_METRIC if self.labels else TEXT_METRIC

    @property
    def best(self) -> ResultRow:
        """The row with the best mean; the first of equals."""
        return max(self.rows, key=lambda row: row.metrics[self.metric].mean)

    @property
    def num_errors(self) -> int:
        """Queries without an answer, over all cells."""
        return sum(row.num_errors for row in self.rows)


@dataclass(frozen=True, slots=True)
class Group:
    """The finished cells that differ only in example set and order, each with its records."""

    series: Mapping[str, Any]
    cells: tuple[tuple[Mapping[str, Any], tuple[Record, ...]], ...]


def groups_of(written: Written) -> list[Group]:
    """The groups in the order they were asked in. Raises `InvalidInputError` where no cell is finished."""
    records: dict[Key, list[Record]] = defaultdict(list)
    for record in written.records:
        records[written.run.key(record)].append(record)
    groups: dict[Key, list[tuple[Mapping[str, Any], tuple[Record, ...]]]] = defaultdict(list)
    for cell in written.cells:
        found = records.get(written.run.key(cell))
        if found and "left_out" not in cell:
            groups[tuple(cell[name] for name in SERIES)].append((cell, tuple(found)))
    if not groups:
        reasons = [cell["left_out"] for cell in written.cells if "left_out" in cell]
        fix = reasons[0] if reasons else "Run the command that wrote it again: it continues."
        raise InvalidInputError("There is nothing to show: no setting was evaluated.", fix=fix)
    return [Group(dict(zip(SERIES, key, strict=True)), tuple(cells)) for key, cells in groups.items()]


def cell_metrics(records: Sequence[Record], labels: Sequence[str]) -> Values:
    """The metrics of some answers: those of labels, or of free text where there are none."""
    return label_metrics(LabelAnswers.of_records(records, labels)) if labels else text_metrics(records)


def summarise(written: Written) -> Summary:
    """The table of a run. Raises `InvalidInputError` where no cell is finished."""
    labels = tuple(written.run.plan["labels"])
    rows = []
    for group in groups_of(written):
        results = [CellResult(cell, cell_metrics(records, labels), records) for cell, records in group.cells]
        rows.append(_row(group.series, results, labels))
    return Summary(labels=labels, rows=tuple(rows), remarks=tuple(_remarks(written, rows, bool(labels))))


def _row(series: Mapping[str, Any], results: Sequence[CellResult], labels: Sequence[str]) -> ResultRow:
    by_set: dict[int, list[Values]] = defaultdict(list)
    for result in results:
        by_set[result.cell["set"]].append(result.values)
    sets = [_mean(values) for values in by_set.values()]
    seconds = sum(result.cell["seconds"] for result in results)
    num_timed = sum(result.cell["num_timed"] for result in results)
    is_drawn = len(sets) > 1
    return ResultRow(
        series=series,
        metrics=_over_sets(sets) if is_drawn else _over_queries(results, labels),
        deviations={name: statistics.stdev([v[name] for v in sets]) if is_drawn else 0.0 for name in sets[0]},
        method="t" if is_drawn else "bootstrap",
        num_sets=len(sets),
        num_orders=max(len(values) for values in by_set.values()),
        num_queries=len(results[0].records),
        num_errors=sum("error" in record for result in results for record in result.records),
        queries_per_s=round(num_timed / seconds, 2) if seconds else None,
        cells=tuple(results),
    )


def _mean(values: Sequence[Values]) -> Values:
    return {name: statistics.fmean(one[name] for one in values) for name in values[0]}


def _over_sets(sets: Sequence[Values]) -> dict[str, Interval]:
    bounds = {name: _BOUNDS.get(name, (0.0, 1.0)) for name in sets[0]}
    return {name: t_interval([values[name] for values in sets], bounds[name]) for name in sets[0]}


def _over_queries(results: Sequence[CellResult], labels: Sequence[str]) -> dict[str, Interval]:
    """With one set: the bootstrap over the queries, which its orders share."""
    if not labels:
        return _joined([text_intervals(result.records) for result in results])
    orders = [LabelAnswers.of_records(result.records, labels) for result in results]
    return bootstrap(len(orders[0]), lambda index: _mean([label_metrics(answers.rows(index)) for answers in orders]))


def _joined(orders: Sequence[Mapping[str, Interval]]) -> dict[str, Interval]:
    """The means of the orders' intervals."""
    parts = {name: [one[name] for one in orders] for name in orders[0]}
    return {
        name: Interval(*(statistics.fmean(getattr(one, end) for one in found) for end in ("mean", "low", "high")))
        for name, found in parts.items()
    }


def _remarks(written: Written, rows: Sequence[ResultRow], is_closed: bool) -> Iterable[str]:
    metric = LABEL_METRIC if is_closed else TEXT_METRIC
    yield from _worse_than_none(rows, metric)
    left_out = [cell for cell in written.cells if "left_out" in cell]
    for reason in dict.fromkeys(cell["left_out"] for cell in left_out):
        these = [cell for cell in left_out if cell["left_out"] == reason]
        where = sorted({(cell["predictor"], cell["shots"]) for cell in these})
        named = ", ".join(f"{predictor} with {shots} shots" for predictor, shots in where)
        yield f"Not evaluated: {named}. {reason}"
    num_errors = sum(row.num_errors for row in rows)
    if num_errors:
        yield f"{num_errors} queries could not be answered; they count as wrong. Their records say why."
    num_short = sum(record.get("dropped_examples", 0) > 0 or "warning" in record for record in written.records)
    if num_short:
        yield f"{num_short} answers were made without some of the examples, which didn't fit the model's context."
    if written.run.plan.get("num_leaked"):
        yield f"{written.run.plan['num_leaked']} training rows have a text that is asked; they were no examples."


def _worse_than_none(rows: Sequence[ResultRow], metric: str) -> Iterable[str]:
    """Says where examples made it worse than none, and whether that is beyond doubt."""
    baselines = {
        (row.series["model"], row.series["template"], row.series["predictor"]): row
        for row in rows
        if row.series["shots"] == 0
    }
    names = varying(rows)
    for row in rows:
        series = row.series
        # What can't work without examples is held against the plain reading.
        found = (
            baselines.get((series["model"], series["template"], name))
            for name in (series["predictor"], "task", "plain")
        )
        base = next((one for one in found if one is not None), None)
        if base is None or series["shots"] == 0:
            continue
        few, none = row.metrics[metric], base.metrics[metric]
        if few.mean > none.mean - ROUNDING:
            continue
        sure = "" if few.high < none.low else " (the intervals overlap)"
        shots = f"{series['shots']} {'shot' if series['shots'] == 1 else 'shots'}"
        yield (
            f"Few-shot is worse than zero-shot: {row_name(row, names)} with {shots} reaches "
            f"{metric_name(metric)} {few.mean:.3f}, without examples {none.mean:.3f}{sure}."
        )


def varying(rows: Sequence[ResultRow]) -> list[str]:
    """The coordinates (but shots) that tell rows apart; the predictor where nothing does."""
    candidates = [name for name in SERIES if name != "shots"]
    found = [name for name in candidates if len({row.series[name] for row in rows}) > 1]
    return found or ["predictor"]


def row_name(row: ResultRow, names: Sequence[str]) -> str:
    """A row in words, by the coordinates that tell it from others."""
    return ", ".join(str(row.series[name]) for name in names)


def metric_name(metric: str) -> str:
    """A metric's name in words."""
    names = {"macro_f1": "macro F1", "ece": "ECE", "chrf": "chrF", "bleu": "BLEU"}
    return names.get(metric, metric.replace("_", " "))

"""The results as a table: cells of text for a terminal and the report, CSV for spreadsheets."""

import csv
import io
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

from handful.evals.intervals import Interval
from handful.evals.summary import SERIES, ResultRow, Summary, metric_name


@dataclass(frozen=True, slots=True)
class Table:
    """A caption, the names of the columns, and rows of text."""

    caption: str
    header: tuple[str, ...]
    rows: tuple[tuple[str, ...], ...]


def result_table(summary: Summary) -> Table:
    """A row for each series and number of examples; what is the same in all rows is left out."""
    there = [name for name in SERIES if name == "shots" or len({row.series[name] for row in summary.rows}) > 1]
    if "predictor" not in there:
        there.insert(0, "predictor")
    metrics = list(summary.rows[0].metrics)
    counts = ("sets", "queries", "queries/s")
    header = (*there, *(metric_name(name) for name in metrics), *counts)
    return Table(_caption(summary), header, tuple(_cells(row, there, metrics) for row in summary.rows))


def text_of(table: Table) -> str:
    """Columns side by side, numbers to the right, for a terminal or a file."""
    widths = [max(len(row[i]) for row in (table.header, *table.rows)) for i in range(len(table.header))]
    lines = [_aligned(row, widths) for row in (table.header, *table.rows)]
    lines.insert(1, "  ".join("-" * width for width in widths))
    return "\n".join(line.rstrip() for line in lines) + "\n"


def csv_of(summary: Summary) -> str:
    """One line a row: series, counts, then mean, low, high and deviation of every metric."""
    metrics = list(summary.rows[0].metrics)
    ends = ("", "_low", "_high", "_deviation")
    counts = ("num_sets", "num_orders", "num_queries", "num_errors", "queries_per_s", "interval")
    rows: list[list[Any]] = [[*SERIES, *counts, *(name + end for name in metrics for end in ends)]]
    for row in summary.rows:
        plain = row.to_dict()
        numbers = [plain["metrics"][name][key] for name in metrics for key in ("mean", "low", "high", "deviation")]
        rows.append([*(plain[name] for name in (*SERIES, *counts)), *numbers])
    return csv_text(rows)


def csv_text(rows: Iterable[Sequence[Any]]) -> str:
    """Rows, the header first, as a CSV file has them."""
    out = io.StringIO(newline="")
    csv.writer(out, lineterminator="\n").writerows(rows)
    return out.getvalue()


def interval_text(interval: Interval) -> str:
    """0.832 [0.801, 0.863]"""
    return f"{interval.mean:.3f} [{interval.low:.3f}, {interval.high:.3f}]"


def _cells(row: ResultRow, names: Sequence[str], metrics: Sequence[str]) -> tuple[str, ...]:
    sets = str(row.num_sets) if row.num_orders == 1 else f"{row.num_sets} x {row.num_orders} orders"
    rate = "" if row.queries_per_s is None else f"{row.queries_per_s:.1f}"
    numbers = [interval_text(row.metrics[name]) for name in metrics]
    return (*(str(row.series[name]) for name in names), *numbers, sets, str(row.num_queries), rate)


def _caption(summary: Summary) -> str:
    methods = {row.method for row in summary.rows}
    over_sets = "over several example sets: Student's t over the sets"
    over_queries = "over one set: the bootstrap over queries"
    told = [text for method, text in (("t", over_sets), ("bootstrap", over_queries)) if method in methods]
    return f"Means with 95% intervals ({'; '.join(told)})."


def _aligned(row: Sequence[Any], widths: Sequence[int]) -> str:
    return "  ".join(
        cell.ljust(width) if i == 0 else cell.rjust(width)
        for i, (cell, width) in enumerate(zip(row, widths, strict=True))
    )

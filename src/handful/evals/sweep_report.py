"""From the records of a sweep to its table, heat maps and page, with samples of every setting. No model is asked."""

import dataclasses
import json
from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from handful.errors import InvalidInputError
from handful.evals import page, plots
from handful.evals.intervals import Interval
from handful.evals.journal import SCHEMA, Key, Written, check_kind, read_run, write_whole
from handful.evals.report import cut, how_made, shown_input
from handful.evals.summary import Record, metric_name
from handful.evals.sweep import COORDINATES
from handful.evals.tables import Table, csv_text, interval_text
from handful.evals.text_metrics import signatures, text_intervals

_NUM_SAMPLES = 3
# The metrics that are drawn; all are in the table.
_DRAWN = ("exact_match", "chrf")


@dataclass(frozen=True, slots=True)
class SweepRow:
    """One setting: its metrics, the share of answers cut off at `max_new_tokens`, its records."""

    setting: Mapping[str, Any]
    metrics: Mapping[str, Interval]
    cut_off: float
    records: tuple[Record, ...]

    def to_dict(self) -> dict[str, Any]:
        """Plain values, with a few samples."""
        samples = [
            {name: record.get(name) for name in ("input", "expected", "prediction", "finish_reason", "error")}
            for record in self.records[:_NUM_SAMPLES]
        ]
        metrics = {name: interval.to_dict() for name, interval in self.metrics.items()}
        return {**self.setting, "metrics": metrics, "cut_off": self.cut_off, "samples": samples}


def sweep_rows(written: Written) -> list[SweepRow]:
    """A row for each finished setting. Raises `InvalidInputError` where there is none."""
    groups: dict[Key, list[Record]] = defaultdict(list)
    for record in written.records:
        groups[written.run.key(record)].append(record)
    rows = []
    for cell in written.cells:
        records = groups[written.run.key(cell)]
        share = sum(record.get("finish_reason") == "length" for record in records) / len(records)
        setting = {name: cell[name] for name in COORDINATES}
        rows.append(SweepRow(setting, text_intervals(records), share, tuple(records)))
    if not rows:
        fix = "Run the command that wrote it again: it continues."
        raise InvalidInputError("There is nothing to show: no setting was evaluated.", fix=fix)
    return rows


def render_sweep(folder: Path) -> list[SweepRow]:
    """Write summary.csv, summary.json, the heat maps and report.html from a sweep's records."""
    plots.check_plots()
    written = read_run(folder)
    check_kind(written, "sweep", folder)
    rows = sweep_rows(written)
    content = json.dumps(sweep_json(written, rows), indent=1, ensure_ascii=False)
    write_whole(folder / "summary.json", content + "\n")
    write_whole(folder / "summary.csv", _csv_of(rows))
    (folder / "figures").mkdir(exist_ok=True)
    figures = []
    for metric in _DRAWN:
        stem = folder / "figures" / f"{metric}-by-setting"
        axes_names = ("temperature", "max_new_tokens")
        plots.draw_heat_maps(_panels(rows, metric), axes_names, metric, stem)
        caption = f"The {metric_name(metric)} of every setting; a panel is an end sequence. The table has the numbers."
        figures.append(page.Figure(stem.with_suffix(".svg"), caption))
    write_whole(folder / "report.html", _page(written, rows, figures))
    return rows


def sweep_json(written: Written, rows: Sequence[SweepRow]) -> dict[str, Any]:
    """The summary as a JSON object (schema 1)."""
    name = written.run.plan["task"]["name"]
    return {"schema": SCHEMA, "task": name, "rows": [row.to_dict() for row in rows], "signatures": signatures()}


def _csv_of(rows: Sequence[SweepRow]) -> str:
    """A line for each setting, for other programs: every metric with the ends of its interval."""
    names = list(rows[0].metrics)
    header = [*COORDINATES, *(f"{name}{part}" for name in names for part in ("", "_low", "_high")), "cut_off"]
    body = (
        [*row.setting.values()]
        + [value for name in names for value in (row.metrics[name].mean, row.metrics[name].low, row.metrics[name].high)]
        + [row.cut_off]
        for row in rows
    )
    return csv_text([header, *body])


def sweep_table(rows: Sequence[SweepRow]) -> Table:
    """A row for each setting."""
    header = (*COORDINATES, *(metric_name(name) for name in rows[0].metrics), "cut off")
    body = (
        (*_shown(row), *(interval_text(interval) for interval in row.metrics.values()), f"{row.cut_off:.0%}")
        for row in rows
    )
    return Table("Means with 95% intervals (the bootstrap over queries).", header, tuple(body))


def _shown(row: SweepRow) -> tuple[str, ...]:
    return tuple(_escape(value) if isinstance(value, str) else f"{value:g}" for value in row.setting.values())


def _escape(text: str) -> str:
    """An end sequence on one line, its line breaks and quotes made visible."""
    return json.dumps(text, ensure_ascii=False)


def _panels(rows: Sequence[SweepRow], metric: str) -> dict[str, tuple[list[float], list[float], list[list[float]]]]:
    panels = {}
    found = {tuple(row.setting.values()): row.metrics[metric].mean for row in rows}
    temperatures = sorted({row.setting["temperature"] for row in rows})
    lengths = sorted({row.setting["max_new_tokens"] for row in rows})
    for end in dict.fromkeys(row.setting["end_sequence"] for row in rows):
        grid = [[found.get((heat, length, end), float("nan")) for heat in temperatures] for length in lengths]
        panels[f"end sequence {_escape(end)}"] = (temperatures, lengths, grid)
    return panels


def _page(written: Written, rows: Sequence[SweepRow], figures: Sequence[page.Figure]) -> str:
    samples = Table("What came out of the first queries.", ("setting", "input", "expected", "answered", "ended"), ())
    body = tuple(sample for row in rows for sample in _samples(row))
    parts = [
        page.section("Results", page.table(sweep_table(rows))),
        page.section("Figures", *(page.figure(drawn) for drawn in figures)),
        page.section("Samples of every setting", page.table(dataclasses.replace(samples, rows=body))),
        page.section("The first query's prompt", page.preformatted(written.cells[0]["prompt"])),
        page.section("How this was made", *how_made(written, signatures())),
    ]
    return page.page(f"Sweep of {written.run.plan['task']['name']}", parts)


def _samples(row: SweepRow) -> Iterator[tuple[str, ...]]:
    name = ", ".join(f"{key} {value}" for key, value in zip(row.setting, _shown(row), strict=True))
    for record in row.records[:_NUM_SAMPLES]:
        answered = record["prediction"] if record["prediction"] is not None else f"error: {record['error']}"
        shown = (shown_input(record["input"]), record["expected"], cut(answered), str(record.get("finish_reason", "")))
        yield (name, *shown)

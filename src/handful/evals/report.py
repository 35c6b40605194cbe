"""From the records of an evaluation to everything a reader gets: tables, figures, one HTML page. No model is asked."""

import json
from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from handful.evals import page, plots
from handful.evals.journal import SCHEMA, Written, check_kind, read_run, write_whole
from handful.evals.summary import Record, ResultRow, Summary, metric_name, summarise
from handful.evals.tables import Table, csv_of, result_table
from handful.evals.text_metrics import signatures

_MAX_MISTAKES = 15
_MAX_SHOWN = 600


@dataclass(frozen=True, slots=True)
class Report:
    """A rendered run."""

    summary: Summary
    page: Path


def render(folder: Path) -> Report:
    """Write summary.csv, summary.json, the figures and report.html into the folder of a run. Raises what reading does.

    The same records give the same files, whenever they are rendered.
    """
    plots.check_plots()
    written = read_run(folder)
    check_kind(written, "eval", folder)
    summary = summarise(written)
    write_whole(folder / "summary.csv", csv_of(summary))
    write_whole(
        folder / "summary.json", json.dumps(summary_json(written, summary), indent=1, ensure_ascii=False) + "\n"
    )
    figures = draw_figures(summary, folder / "figures")
    write_whole(folder / "report.html", report_page(written, summary, figures))
    return Report(summary, folder / "report.html")


def summary_json(written: Written, summary: Summary) -> dict[str, Any]:
    """The summary as a JSON object (schema 1)."""
    return {
        "schema": SCHEMA,
        "task": written.run.plan["task"]["name"],
        "metric": summary.metric,
        "best": {**summary.best.series, **summary.best.metrics[summary.metric].to_dict()},
        "rows": [row.to_dict() for row in summary.rows],
        "remarks": list(summary.remarks),
        "signatures": {} if summary.labels else signatures(),
    }


def draw_figures(summary: Summary, folder: Path) -> list[page.Figure]:
    """All figures, most important first."""
    folder.mkdir(exist_ok=True)
    drawn: list[page.Figure] = []
    for metric in summary.rows[0].metrics:
        stem = folder / f"{metric}-by-examples"
        plots.draw_curve(summary, metric, stem)
        caption = (
            f"The {metric_name(metric)} by number of examples; bands are 95% intervals. The table has the numbers."
        )
        drawn.append(page.Figure(stem.with_suffix(".svg"), caption))
    if any(len(row.cells) > 1 for row in summary.rows):
        plots.draw_stability(summary, folder / "stability")
        caption = "Stability: every example set, order and wording as a dot, the black bar their mean."
        drawn.insert(1, page.Figure(folder / "stability.svg", caption))
    if summary.labels:
        plots.draw_reliability(summary, folder / "reliability")
        caption = (
            "Reliability of the best row of each line: of answers given with a confidence, the share that is right."
        )
        drawn.append(page.Figure(folder / "reliability.svg", caption))
    return drawn


def report_page(written: Written, summary: Summary, figures: Sequence[page.Figure]) -> str:
    """The HTML page."""
    best = summary.best
    score = best.metrics[summary.metric]
    headline = (
        f"Best: {best.series['predictor']} with {best.series['shots']} examples, {metric_name(summary.metric)} "
        f"{score.mean:.3f} (95% interval {score.low:.3f} to {score.high:.3f}, {best.num_queries} queries)."
    )
    parts = [
        page.paragraph(headline),
        *(page.remark(text) for text in summary.remarks),
        page.section("Results", page.table(result_table(summary))),
        page.section("Figures", *(page.figure(drawn) for drawn in figures)),
        page.section("An example's prompt", *_prompt(best)),
        page.section("Worst mistakes", *_mistakes(best, summary)),
        page.section("How this was made", *how_made(written, {} if summary.labels else signatures())),
    ]
    return page.page(f"Evaluation of {written.run.plan['task']['name']}", [part for part in parts if part])


def how_made(written: Written, scores: Mapping[str, str]) -> list[str]:
    """What was run, with which versions, on which data; `scores` are sacrebleu's signatures."""
    context = written.run.context
    signed = Table("sacrebleu's signatures", ("score", "signature"), tuple(scores.items()))
    versions = Table("Versions", ("part", "version"), tuple((k, str(v)) for k, v in context["versions"].items()))
    shown = {name: value for name, value in written.run.plan.items() if name not in ("task", "tasks")}
    settings = tuple((name, json.dumps(value, ensure_ascii=False)) for name, value in shown.items())
    return [
        page.preformatted(context["command"]),
        page.table(Table("Settings", ("setting", "value"), settings)),
        page.table(versions),
        *([page.table(signed)] if scores else []),
        page.paragraph("Figures and tables are made from records.jsonl and cells.jsonl beside this page."),
    ]


def _prompt(row: ResultRow) -> list[str]:
    cell = row.cells[0].cell
    told = f"The first query behind example set {cell['set']}, as the model reads it; it answers behind the end."
    note = [page.paragraph(f"Chosen: {cell['note']}")] if cell["note"] else []
    return [page.paragraph(told), page.preformatted(cell["prompt"]), *note]


def _mistakes(row: ResultRow, summary: Summary) -> list[str]:
    """Queries that were answered wrongly, surest or most often first, over all sets of the best row."""
    wrong: dict[int, list[Record]] = defaultdict(list)
    for cell in row.cells:
        for record in cell.records:
            if (record["prediction"] or "").strip() != record["expected"].strip():
                wrong[record["item"]].append(record)
    if not wrong:
        return [page.paragraph("There are none.")]
    worst = sorted(wrong.values(), key=lambda found: (-len(found), -_confidence(found[0])))[:_MAX_MISTAKES]
    rows = tuple(_mistake(found, len(row.cells)) for found in worst)
    header = ("input", "expected", "answered", "confidence" if summary.labels else "ended", "wrong in")
    caption = f"{len(wrong)} of {row.num_queries} queries were answered wrongly at least once; the worst of them."
    return [page.table(Table(caption, header, rows))]


def _mistake(found: Sequence[Record], num_cells: int) -> tuple[str, ...]:
    surest = max(found, key=_confidence)
    answered = surest["prediction"] if surest["prediction"] is not None else f"error: {surest['error']}"
    how = f"{_confidence(surest):.2f}" if surest.get("probabilities") else str(surest.get("finish_reason", ""))
    return shown_input(surest["input"]), surest["expected"], cut(answered), how, f"{len(found)} of {num_cells}"


def _confidence(record: Record) -> float:
    found: Mapping[str, float] = record.get("probabilities") or {}
    return float(found.get(record["prediction"], 0.0))


def shown_input(given: str | Mapping[str, str]) -> str:
    """An input as one text, cut where it is long."""
    return cut(given if isinstance(given, str) else "\n".join(f"{name}: {value}" for name, value in given.items()))


def cut(text: str) -> str:
    """At most as much of a text as a table shows."""
    return text if len(text) <= _MAX_SHOWN else text[: _MAX_SHOWN - 1] + "…"

"""The figures of an evaluation, as PNG and SVG. The only module that imports matplotlib.

Colours are Okabe and Ito's, told apart by people who see fewer; every line has a marker and a dash of its own as well.
Files are the same at every run over the same records: no date and no random name is written into them.
"""

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from handful.evals.extras import require
from handful.evals.metrics import LabelAnswers, bins_of
from handful.evals.summary import LESS_IS_BETTER, ResultRow, Summary, metric_name, row_name, varying

_COLOURS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9", "#000000")
_MARKERS = "osD^vPX"
_DASHES: tuple[Any, ...] = ("-", "--", "-.", ":", (0, (5, 1)), (0, (3, 1, 1, 1)), (0, (1, 1)))
_STYLE = {
    "font.size": 11,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.grid": True,
    "grid.color": "#dddddd",
    "axes.axisbelow": True,
    "legend.frameon": False,
    "svg.hashsalt": "handful",
    "figure.constrained_layout.use": True,
}
_MAX_PANELS = 6
_NUM_DRAWN_BINS = 10

Series = tuple[str, list[ResultRow]]


def check_plots() -> None:
    """Raise `UserError` where matplotlib isn't installed."""
    require("matplotlib", "Drawing figures")


def draw_curve(summary: Summary, metric: str, stem: Path) -> None:
    """A metric against the number of examples, with its interval as a band; a line for each model and predictor."""

    def draw(figure: Any) -> None:
        axes = figure.subplots()
        shots = sorted({row.series["shots"] for row in summary.rows})
        series = series_of(summary.rows)
        for number, (name, rows) in enumerate(series):
            _line(axes, [shots.index(row.series["shots"]) for row in rows], rows, metric, name, number)
        axes.set_xticks(range(len(shots)), [str(count) for count in shots])
        axes.set_xlabel("examples in the prompt" if _shows_all(summary) else "labelled examples")
        axes.set_ylabel(metric_name(metric) + (" (less is better)" if metric in LESS_IS_BETTER else ""))
        axes.margins(x=0.08)
        axes.set_title(_what_is_shown(summary), loc="left", fontsize=9.5, color="#444444")
        if len(series) > 1:
            axes.legend()

    _save(draw, stem, (6.4, 4.2))


def draw_stability(summary: Summary, stem: Path) -> None:
    """Each example set and order as a dot, and their mean: how much depends on the luck of the draw."""

    def draw(figure: Any) -> None:
        axes = figure.subplots()
        rows = [row for _, found in series_of(summary.rows) for row in found]
        names = [_row_name(summary, row) for row in rows]
        colours = {name: number for number, (name, _) in enumerate(series_of(summary.rows))}
        for place, row in enumerate(rows):
            number = colours[row_name(row, varying(summary.rows))]
            found = [cell.values[summary.metric] for cell in row.cells]
            spread = np.linspace(-0.22, 0.22, len(found)) if len(found) > 1 else np.zeros(1)
            style = {"color": _COLOURS[number % len(_COLOURS)], "marker": _MARKERS[number % len(_MARKERS)]}
            axes.scatter(found, place + spread, s=26, alpha=0.85, linewidths=0, **style)
            mean = row.metrics[summary.metric].mean
            axes.plot([mean, mean], [place - 0.36, place + 0.36], color="#000000", linewidth=1.6)
        axes.set_yticks(range(len(rows)), names)
        axes.invert_yaxis()
        axes.set_xlabel(f"{metric_name(summary.metric)}; a dot is an example set in one order, a bar their mean")

    _save(draw, stem, (7.2, 1.3 + 0.34 * len(summary.rows)))


def draw_reliability(summary: Summary, stem: Path) -> None:
    """Confidence against the share that is right, for the best row of each line; above the diagonal is too modest."""
    rows = [max(found, key=lambda row: row.metrics[summary.metric].mean) for _, found in series_of(summary.rows)]
    rows = rows[:_MAX_PANELS]

    def draw(figure: Any) -> None:
        panels = figure.subplots(2, len(rows), squeeze=False, height_ratios=(4, 1), sharex=True)
        for number, row in enumerate(rows):
            _reliability(panels[0][number], panels[1][number], summary, row, number)
        panels[0][0].set_ylabel("share that is right")
        panels[1][0].set_ylabel("answers")

    _save(draw, stem, (max(3.6, 3.2 * len(rows)), 4.4))


def draw_heat_maps(panels: Mapping[str, Any], axes_names: tuple[str, str], metric: str, stem: Path) -> None:
    """One grid a panel: `panels[title] = (columns, rows, values [rows, columns])`, the values written in the cells."""

    def draw(figure: Any) -> None:
        grids = figure.subplots(1, len(panels), squeeze=False)[0]
        values = np.concatenate([np.asarray(found, dtype=float).ravel() for _, _, found in panels.values()])
        low, high = float(np.nanmin(values)), float(np.nanmax(values))
        for axes, (title, (columns, rows, found)) in zip(grids, panels.items(), strict=True):
            grid = np.asarray(found, dtype=float)
            image = axes.imshow(grid, cmap="cividis", vmin=low, vmax=high if high > low else low + 1e-9, aspect="auto")
            axes.grid(visible=False)
            axes.set_xticks(range(len(columns)), [f"{value:g}" for value in columns])
            axes.set_yticks(range(len(rows)), [f"{value:g}" for value in rows])
            axes.set_xlabel(axes_names[0])
            axes.set_title(title, fontsize=11)
            for (row, column), value in np.ndenumerate(grid):
                ink = "white" if value < (low + high) / 2 or high == low else "black"
                axes.text(column, row, f"{value:.2f}", ha="center", va="center", color=ink)
        grids[0].set_ylabel(axes_names[1])
        figure.colorbar(image, ax=list(grids), label=metric_name(metric))

    height = 1.6 + 0.55 * max(len(rows) for _, rows, _ in panels.values())
    _save(draw, stem, (2.2 + 2.9 * len(panels), max(2.8, height)))


def series_of(rows: Sequence[ResultRow]) -> list[Series]:
    """The lines of a figure: rows that differ only in their number of examples, under a name, least examples first."""
    names = varying(rows)
    found: dict[str, list[ResultRow]] = {}
    for row in rows:
        found.setdefault(row_name(row, names), []).append(row)
    return [(name, sorted(group, key=lambda row: int(row.series["shots"]))) for name, group in found.items()]


def _what_is_shown(summary: Summary) -> str:
    """What all lines have in common, so that a figure can be read where it stands alone."""
    names, first = varying(summary.rows), summary.rows[0]
    common = [str(first.series[name]) for name in ("template", "model") if name not in names]
    num_sets = max(row.num_sets for row in summary.rows)
    over = f"over {num_sets} example sets" if num_sets > 1 else "over the queries"
    told = f"{first.num_queries:,} queries; the bands are 95% intervals {over}"
    return f"{', '.join(common)}: {told}" if common else told


def _row_name(summary: Summary, row: ResultRow) -> str:
    shots = int(row.series["shots"])
    return f"{row_name(row, varying(summary.rows))}, {shots} {'shot' if shots == 1 else 'shots'}"


def _shows_all(summary: Summary) -> bool:
    """Whether every example stands in the prompt: readings that learn use some of them elsewhere."""
    return {row.series["predictor"] for row in summary.rows} <= {"task", "plain", "generate"}


def _line(axes: Any, places: Sequence[int], rows: Sequence[ResultRow], metric: str, name: str, number: int) -> None:
    colour = _COLOURS[number % len(_COLOURS)]
    found = [row.metrics[metric] for row in rows]
    means = [one.mean for one in found]
    marker = _MARKERS[number % len(_MARKERS)]
    axes.plot(places, means, color=colour, marker=marker, linestyle=_DASHES[number % len(_DASHES)], label=name)
    lows, highs = [one.low for one in found], [one.high for one in found]
    if len(rows) > 1:
        axes.fill_between(places, lows, highs, facecolor=colour, alpha=0.13, linewidth=0)
        for ends in (lows, highs):
            axes.plot(places, ends, color=colour, linewidth=0.6, alpha=0.6)
    else:
        axes.vlines(places, lows, highs, color=colour, linewidth=2, alpha=0.6)


def _reliability(upper: Any, lower: Any, summary: Summary, row: ResultRow, number: int) -> None:
    records = [record for cell in row.cells for record in cell.records]
    bins = bins_of(LabelAnswers.of_records(records, summary.labels), _NUM_DRAWN_BINS)
    used = [one for one in bins if one.num_answers]
    colour = _COLOURS[number % len(_COLOURS)]
    upper.plot([0, 1], [0, 1], color="#777777", linestyle=":", linewidth=1.2)
    marker = _MARKERS[number % len(_MARKERS)]
    upper.plot([one.confidence for one in used], [one.accuracy for one in used], color=colour, marker=marker)
    upper.set(xlim=(0, 1), ylim=(0, 1.02))
    upper.set_title(f"{_row_name(summary, row)}\nECE {row.metrics['ece'].mean:.3f}", fontsize=10)
    width = 1 / _NUM_DRAWN_BINS
    counts = [one.num_answers for one in bins]
    lower.bar([one.low + width / 2 for one in bins], counts, width=width * 0.9, color=colour)
    lower.set_xlabel("confidence")


def _save(draw: Callable[[Any], None], stem: Path, inches: tuple[float, float]) -> None:
    """Draw into `stem`.png and `stem`.svg."""
    from matplotlib import rc_context
    from matplotlib.figure import Figure

    with rc_context(_STYLE):
        figure = Figure(figsize=inches)
        draw(figure)
        figure.savefig(stem.with_suffix(".png"), dpi=150, metadata={"Software": None})
        figure.savefig(stem.with_suffix(".svg"), metadata={"Date": None, "Creator": None})

"""Charts of a run against peers, as PNG and SVG: throughput against shots, and bars for each workload.

Engines keep their colour (Okabe and Ito's, told apart by people who see fewer) and have a marker of their own. The
files are the same at every run over the same results: no date and no random name is written into them.
"""

from pathlib import Path
from typing import Any

import matplotlib

matplotlib.use("Agg")
from matplotlib import pyplot

STYLES = {
    "handful": ("#0072B2", "o"),
    "handful-int8": ("#56B4E9", "D"),
    "handful-bfloat16": ("#56B4E9", "d"),
    "handful-float32": ("#A6CEE3", "8"),
    "openvino-fp16": ("#D55E00", "s"),
    "openvino-int8": ("#E69F00", "P"),
    "vllm": ("#009E73", "^"),
    "llama.cpp": ("#CC79A7", "v"),
    "transformers-prefix": ("#4D4D4D", "X"),
    "transformers": ("#8C8C8C", "<"),
    "transformers-float32": ("#BDBDBD", ">"),
}
LOOK = {
    "font.size": 10.5,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.grid": True,
    "axes.axisbelow": True,
    "axes.titlesize": 11,
    "axes.titleweight": "bold",
    "axes.titlelocation": "left",
    "grid.color": "#e4e4e4",
    "svg.hashsalt": "handful",
    "figure.constrained_layout.use": True,
}
SHOTS = {"shots-0": 0, "W5": 4, "shots-16": 16, "W1": 32, "shots-64": 64}
TITLES = {
    "W1": "W1: 8 tokens behind 32 shots",
    "W2": "W2: the label behind 32 shots",
    "W5": "W5: 8 tokens behind 4 shots",
    "W6": "W6: 500 tokens, nothing shared",
    "W3": "W3: one warm request, 8 tokens",
    "W3-label": "W3: one warm request, the label",
}
NUM_COLUMNS = 2
DPI = 160


def draw(found: dict[str, Any], folder: Path, name: str) -> list[str]:
    """The charts that a result has figures for; names of the files without their endings."""
    folder.mkdir(parents=True, exist_ok=True)
    drawn = []
    with matplotlib.rc_context(LOOK):
        if sum(workload in found["results"] for workload in SHOTS) > 1:
            _save(_against_shots(found), folder / f"{name}-shots")
            drawn.append(f"{name}-shots")
        if any(workload in found["results"] for workload in TITLES):
            _save(_bars(found), folder / f"{name}-workloads")
            drawn.append(f"{name}-workloads")
    return drawn


def _against_shots(found: dict[str, Any]) -> Any:
    """Requests a second over the number of shots, a line for each engine."""
    figure, axes = pyplot.subplots(figsize=(8, 4.8))
    ends = []
    for engine in _engines(found):
        points = [
            (place, found["results"][workload]["requests_per_s"][engine])
            for place, workload in enumerate(SHOTS)
            if engine in found["results"].get(workload, {}).get("requests_per_s", {})
        ]
        if points:
            colour, marker = STYLES[engine]
            width = 2.6 if engine == "handful" else 1.6
            axes.plot(*zip(*points, strict=True), color=colour, marker=marker, linewidth=width, label=engine)
            ends.append((points[-1][1], engine))
    axes.set_yscale("log")
    axes.yaxis.set_major_formatter("{x:g}")
    axes.set_xticks(range(len(SHOTS)), [str(count) for count in SHOTS.values()])
    axes.set_xlabel("examples in the prompt (shots)")
    axes.set_title(f"Requests a second, 8 new tokens each: {found['model']}")
    handles, names = axes.get_legend_handles_labels()
    order = [names.index(engine) for _, engine in sorted(ends, reverse=True)]  # as the lines end, from above
    place = {"loc": "center left", "bbox_to_anchor": (1, 0.5), "frameon": False}
    axes.legend([handles[i] for i in order], [names[i] for i in order], **place)
    return figure


def _bars(found: dict[str, Any]) -> Any:
    """A panel for each workload with a bar for each engine, on a logarithmic axis, the value beside it."""
    names = [workload for workload in TITLES if workload in found["results"]]
    num_rows = -(-len(names) // NUM_COLUMNS)
    figure, panels = pyplot.subplots(num_rows, NUM_COLUMNS, figsize=(10, 2.9 * num_rows), squeeze=False)
    for panel, workload in zip(panels.flat, names, strict=False):
        result = found["results"][workload]
        is_time = "p50_ms" in result
        values = result["p50_ms" if is_time else "requests_per_s"]
        engines = [engine for engine in _engines(found) if engine in values]
        _panel(panel, engines, [values[engine] for engine in engines])
        panel.set_title(TITLES[workload])
        panel.set_xlabel("milliseconds, p50 (less is better)" if is_time else "requests a second (more is better)")
    for panel in panels.flat[len(names) :]:
        panel.set_visible(False)
    return figure


def _panel(axes: Any, engines: list[str], values: list[float]) -> None:
    bars = axes.barh(engines, values, color=[STYLES[engine][0] for engine in engines], height=0.72)
    axes.bar_label(
        bars, [f"{value:,.0f}" if value >= 100 else f"{value:.3g}" for value in values], padding=4, fontsize=9.5
    )
    axes.invert_yaxis()
    axes.set_xscale("log")
    axes.set_xlim(min(values) / 2, max(values) * 3)
    axes.xaxis.set_major_formatter("{x:g}")
    axes.grid(visible=False, axis="y")
    axes.tick_params(axis="y", length=0)


def _engines(found: dict[str, Any]) -> list[str]:
    return [engine for engine in STYLES if engine in found["engines"]]


def _save(figure: Any, stem: Path) -> None:
    figure.savefig(stem.with_suffix(".png"), dpi=DPI, metadata={"Software": None})
    figure.savefig(stem.with_suffix(".svg"), metadata={"Date": None})
    pyplot.close(figure)

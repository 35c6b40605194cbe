"""The tables of docs/performance.md, as lines of Markdown."""

from typing import Any

NOT_SHOWN = {"workload", "model", "precision", "architecture", "processor", "threads", "torch", "python", "load_before"}


def where(name: str, found: dict[str, Any]) -> str:
    """The machine and versions of a result, and its file."""
    facts = [found.get("gpu"), found.get("processor"), f"{found['threads']} threads" if "threads" in found else None]
    facts += [f"torch {found['torch']}" if "torch" in found else None]
    facts += [f"load average before: {found['load_before']}" if "load_before" in found else None]
    return ", ".join(fact for fact in facts if fact) + f" (`benchmarks/results/{name}`)"


def plain(found: dict[str, Any]) -> list[str]:
    """Every figure of a result as it stands."""
    return table(["", ""], [[key.replace("_", " "), flat(found[key])] for key in found if key not in NOT_SHOWN])


def against(found: dict[str, Any]) -> list[str]:
    """A run of generate.py with Transformers beside it."""
    heads = ["", "requests a second", "handful is faster by", "same text", "largest log-probability difference"]
    rows = []
    for name, rate in found["requests_per_s"].items():
        same, difference = found["same_text"].get(name, ""), found["largest_logprob_difference"].get(name, "")
        rows.append([name.replace("_", " "), f"{rate:g}", times(found, name), same, str(difference)])
    return table(heads, rows) + [f"* {name} did not run: {why}." for name, why in found.get("not_run", {}).items()]


def peers(found: dict[str, Any]) -> list[str]:
    """A run of against_peers.py: its engines, and a table for each workload."""
    compared = found["agreement"]
    heads = ["engine", "version", "peak memory, MB", "loads in, s"]
    heads += [f"{workload}: first, all tokens as float32" for workload in compared]
    rows = []
    for name, about in found["engines"].items():
        cells = [name, about["version"], str(about.get("peak_memory_mb", "")), f"{about['load_seconds']:g}"]
        rows.append([*cells, *(", ".join(compared[workload].get(name, {}).values()) for workload in compared)])
    lines = table(heads, rows)
    lines += [f"* {name} is not here: {reason}." for name, reason in found["not_run"].items()]
    for workload, result in found["results"].items():
        lines += ["", f"### {workload}: {result['what']}", "", _about(found, result), "", *_figures(result)]
    return lines


def formats(found: dict[str, Any]) -> list[str]:
    """A run of precision.py: each number format beside float32, and whether the guard holds."""
    int8 = "; ".join(f"{name}: {kinds}" for name, kinds in found["linears_in_int8"].items())
    lines = [
        f"SST-2 dev, {found['reviews']} reviews, {found['shots']} shots, {found['example_sets']} example sets, beside",
        "float32. The guard: mean KL divergence of the label probabilities at most 0.01, mean accuracy within one",
        "point, label agreement at most 3 points below bfloat16's own. In int8 are, of the linears of all",
        f"layers, {int8}; the others stay in bfloat16.",
        "",
    ]
    heads = ["", "mean KL", "accuracy", "labels as float32", "greedy tokens as float32", "guard"]
    rows = []
    for name, figures in found["formats"].items():
        shares = [f"{100 * figures[key]:.1f}%" for key in ("accuracy", "agreement", "greedy_tokens_equal")]
        holds = {True: "holds", False: "fails", None: ""}[(found["guard"] or {}).get(name)]
        rows.append([name, f"{figures['mean_kl']:.5f}", *shares, holds])
    return lines + table(heads, rows)


def instructions(found: dict[str, Any]) -> list[str]:
    """A run of instructions.py: what each limit of the kernels makes of W1 and W2, beside torch alone."""
    lines = [
        f"W1 and W2 with {found['shots']} shots, {found['requests']} requests, {found['rounds']} rounds in turns, with",
        "torch kept to AVX2: processor time of a request. The first column is what the kernels may use (`none`: torch",
        "alone), and the precision that was asked for.",
        "",
    ]
    heads = ["", "runs in", "generate, ms", "faster by", "label, ms", "faster by"]
    measured = found["processor_ms_a_request"]
    first, rows = next(iter(measured.values())), []
    for name, figures in measured.items():
        cells = [name, figures["precision"]]
        for work in ("handful_generate", "handful_label"):
            cells += [f"{figures[work]:g}", f"{first[work] / figures[work]:.2f}x"]
        rows.append(cells)
    return lines + table(heads, rows)


def _about(found: dict[str, Any], result: dict[str, Any]) -> str:
    tokens = f"Prompts of {result['prompt_tokens']} tokens, {result['shared_tokens']} of them shared"
    return f"{tokens}; medians of {found['rounds']} rounds."


def _figures(result: dict[str, Any]) -> list[str]:
    is_time = "p50_ms" in result
    heads = [
        "",
        "p50, ms" if is_time else "requests a second",
        "handful is faster by",
        "requests a round",
        "new tokens",
    ]
    rows = []
    for name, value in result["p50_ms" if is_time else "requests_per_s"].items():
        new = str(result["new_tokens"][name] or "labels scored")
        rows.append([name, f"{value:g}", times(result, name), str(result["requests"][name]), new])
    return table(heads, rows)


COUNTED = """\
Work is counted as if requests shared the prefix and no more. Queries of the reference workload begin alike, too, and
what several begin with handful computes once: of 256 requests behind 4, 32 or 64 shots it runs three quarters of the
operations counted here (`operations_together` in `benchmarks/counted.py`), of 16 nine tenths."""


def limits(found: dict[str, Any]) -> list[str]:
    """The machine's limits and each workload's share of them."""
    lines = table(
        ["limit, all cores", ""], [[name.replace("_", " "), f"{value:g}"] for name, value in found["limits"].items()]
    )
    rows = []
    for share in found["shares"]:
        by = "arithmetic" if "gflops" in share else "reading the weights"
        work = f"{share['gflops']:g} GFLOP/s" if "gflops" in share else f"at least {share['least_ms_by_reading']:g} ms"
        part = f"{share['share']:.1%}" if "share" in share else ""
        rows.append([share["model"], share["workload"], share["engine"], share["precision"], work, by, part])
    heads = ["model", "workload", "engine", "precision", "work", "bounded by", "share of the limit"]
    return [*lines, "", COUNTED, "", *table(heads, rows)] if rows else lines


def times(found: dict[str, Any], name: str) -> str:
    """How many times as fast handful is, as a cell."""
    value = found["times_faster_than"].get(name)
    return f"{value:g}x" if value else ""


def table(heads: list[str], rows: list[list[str]]) -> list[str]:
    """A Markdown table and the empty line behind it."""
    lines = [heads, ["---"] * len(heads), *rows]
    return [*(f"| {' | '.join(cells)} |" for cells in lines), ""]


def flat(value: Any) -> str:
    """A value, or the pairs of a mapping, on one line."""
    if isinstance(value, dict):
        return "; ".join(f"{key}: {flat(inner)}" for key, inner in value.items())
    return str(value)

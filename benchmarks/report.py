"""Write docs/performance.md from the results in benchmarks/results: every figure in it comes from a committed run.

python benchmarks/generate.py --against transformers | tail -1 > benchmarks/results/generate-default.json
python benchmarks/report.py
"""

import json
from pathlib import Path
from typing import Any

HERE = Path(__file__).parent
RESULTS = HERE / "results"
PAGE = HERE.parent / "docs" / "performance.md"

HEAD = """# Performance

Made by `python benchmarks/report.py` from the files in `benchmarks/results`: the last lines of the programs in
`benchmarks`. Read the caveats first:

* Absolute figures hold for one small shared machine and vary by the hour. Ratios come from one run in which all took
  turns; only they mean anything elsewhere.
* "Transformers" runs one request at a time and reuses nothing, as its quick start does. `prefix` rows are it at
  its best by hand: the prefix's `past_key_values` computed once and the label queries batched. That is the fair rival.
* handful's rounds begin with an empty cache, so the prefix is computed within the time measured.
* W3 and W8 are warm: the prefix, in W8 the prompts too, have been seen. W4 is cold: a new process each time.
* A greedy text that differs is counted as different even where two tokens were within rounding of each other.
"""

TAIL = """
## Where handful loses, and what is not here

* With nothing shared (W6) there is no prefix to save: it is then an ordinary engine.
* A single request at a time leaves most of the processor idle: latency is bounded by reading the weights once a token.
* OpenVINO GenAI, vLLM and llama.cpp have not been measured on this machine yet, and nothing has been measured on a GPU.
"""


def main() -> None:
    """Read the results, write the page."""
    results = [(path, json.loads(path.read_text())) for path in sorted(RESULTS.glob("*.json"))]
    parts = [HEAD, *(section(path.name, found) for path, found in results), TAIL]
    PAGE.write_text("\n".join(parts))
    print(f"wrote {PAGE} from {len(results)} results")


def section(name: str, found: dict[str, Any]) -> str:
    """One result as a heading, a line about where it ran, and its table."""
    shown = [f"## {found['workload']}: {found['model']}, {found['precision']}", "", where(name, found), ""]
    if "times_faster_than" in found:
        return "\n".join(shown + against(found))
    skipped = {"workload", "model", "precision", "architecture", "processor", "threads", "torch", "python"}
    rows = [f"| {key.replace('_', ' ')} | {flat(value)} |" for key, value in found.items() if key not in skipped]
    return "\n".join([*shown, "| | |", "|---|---|", *rows, ""])


def where(name: str, found: dict[str, Any]) -> str:
    """The machine and versions of a result, and its file."""
    facts = [found.get("processor"), f"{found['threads']} threads" if "threads" in found else None]
    facts += [f"torch {found['torch']}" if "torch" in found else None]
    facts += [f"load average before: {found['load_before']}" if "load_before" in found else None]
    return ", ".join(fact for fact in facts if fact) + f" (`benchmarks/results/{name}`)"


def against(found: dict[str, Any]) -> list[str]:
    """The table of a run with peers."""
    rows = ["| | requests a second | handful is faster by | same text | largest log-probability difference |"]
    rows += ["|---|---|---|---|---|"]
    for name, rate in found["requests_per_s"].items():
        times = found["times_faster_than"].get(name)
        cells = [name.replace("_", " "), f"{rate:g}", f"{times:g}x" if times else ""]
        cells += [found["same_text"].get(name, ""), str(found["largest_logprob_difference"].get(name, ""))]
        rows.append(f"| {' | '.join(cells)} |")
    return [*rows, ""]


def flat(value: Any) -> str:
    """A value, or the pairs of a mapping, on one line."""
    if isinstance(value, dict):
        return "; ".join(f"{key}: {flat(inner)}" for key, inner in value.items())
    return str(value)


if __name__ == "__main__":
    main()

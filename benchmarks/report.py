"""Write docs/performance.md and its charts from the results in benchmarks/results: every figure in it comes from a
committed run.

    python benchmarks/generate.py --against transformers | tail -1 > benchmarks/results/generate-default.json
    make bench-peers
    python benchmarks/report.py          (make charts)
"""

import json
from pathlib import Path
from typing import Any

import charts
from report_tables import against, formats, instructions, limits, peers, plain, where

HERE = Path(__file__).parent
RESULTS = HERE / "results"
PAGE = HERE.parent / "docs" / "performance.md"
FIGURES = PAGE.parent / "figures"

HEAD = """# Performance

Made by `python benchmarks/report.py` from the files in `benchmarks/results`: the last lines of the programs in
`benchmarks`. Read the caveats first:

* Absolute figures hold for one small shared machine and vary by the hour. Ratios come from one run in which all took
  turns; only they mean anything elsewhere.
* "Transformers" runs one request at a time and reuses nothing, as its quick start does. `prefix` rows are it at
  its best by hand: the prefix's `past_key_values` computed once and the queries batched. That is the fair rival.
* handful's rounds begin with an empty cache, so the prefix is computed within the time measured.
* W3 is warm: the prefix has been seen. W4 is cold: a new process each time.
* A greedy text that differs is counted as different even where two tokens were within rounding of each other.
* All files are of 2026-11-29 and of one tree, from 2 cores of an EPYC of Zen 4 (no AMX), about half as fast as the
  Zen 5 that earlier figures came from. Those of machines with AMX or AVX-VNNI, and of earlier trees, are in the log.
  The load tests, the killed run and AVX2 were measured beside a run of the tests.
"""

PEERS = """\
* Other engines (`make bench-peers`) get the same prompts and token counts in the same run, in turns; each round has
  a prefix that no engine has seen. They get token ids, handful gets texts and tokenises them within the time measured.
  OpenVINO and vLLM are shown one prompt before the others, which lets their prefix caches help within a round.
* An engine whose tokens mostly differ from those in float32 computes something else, and its speed is no comparison:
  see the last columns of its row. (Random weights have near ties: there some answers differ in any lower precision.)
"""

TAIL = """
## Where handful loses, and what is not here

* With nothing shared (W6) there is no prefix to save: it is then an ordinary engine.
* Long prefixes (W7): behind a pinned prefix 64 shots run at 67% of the rate of 4, and the goal is 60; with a cold cache
  at 59% in one run and 57% in that of all engines. An engine that runs all operations at one speed gives 58% cold,
  the prefix's among them (`growth.py` counts them), and 67.5% pinned.
* A single request at a time leaves most of the processor idle: latency is bounded by reading the weights once a token.
  With GPT-Neo-125M's shape, whose random weights give drafts nothing to guess from, W3 is 1.8 times as fast as
  OpenVINO's int8 (whose tokens mostly aren't float32's there, behind so long a prompt): each of 8 steps reads 104 MB of
  weights and 11 of keys and values, which alone takes 57% of the time. Next would be what Python does in
  a step, 0.9 of some 6 ms when it was last taken apart (docs/log.md).
"""


def main() -> None:
    """Read the results, write the page and the charts."""
    results = {path.name: json.loads(path.read_text()) for path in sorted(RESULTS.glob("*.json"))}
    has_peers = any(found["workload"] == "peers" for found in results.values())
    parts = [HEAD + (PEERS if has_peers else "")]
    # what is compared in one run comes first, then single programs' figures, then the machine
    order = sorted(results, key=lambda name: ({"peers": 0, "roofline": 2}.get(results[name]["workload"], 1), name))
    parts += [section(name, results[name]) for name in order]
    parts += [TAIL + "\n".join(f"* {line}" for line in losses(results.values(), has_peers=has_peers)) + "\n"]
    PAGE.write_text("\n".join(parts))
    print(f"wrote {PAGE} from {len(results)} results")


def section(name: str, found: dict[str, Any]) -> str:
    """One result: a heading, a line about where it ran, its tables and charts."""
    if found["workload"] == "peers":
        head = [f"## Against other engines: {found['model']}, {found['processor']}", "", where(name, found), ""]
        shown = [f"![{chart}](figures/{chart}.png)\n" for chart in charts.draw(found, FIGURES, Path(name).stem)]
        return "\n".join([*head, *shown, *peers(found)])
    if found["workload"] == "roofline":
        return "\n".join(
            [f"## What the machine allows: {found['processor']}", "", where(name, found), "", *limits(found)]
        )
    if found["workload"] == "precision":
        return "\n".join([f"## Lower precisions: {found['model']}", "", where(name, found), "", *formats(found)])
    if found["workload"] == "instructions":
        head = [f"## Processors without AVX-512: {found['model']}", "", where(name, found), ""]
        return "\n".join([*head, *instructions(found)])
    about = ", ".join(found[key] for key in ("model", "precision") if key in found)
    head = [f"## {found['workload']}: {about}", "", where(name, found), ""]
    return "\n".join(head + (against(found) if "times_faster_than" in found else plain(found)))


UNMEASURED = """\
The path for GPUs (varlen attention, CUDA graphs) has never run on one, and nothing has been measured there.
  `python -m pytest tests/parity/test_gpu.py` checks it on a GPU, and
  `python benchmarks/generate.py --against transformers --device cuda` measures W1 and W2 against Transformers as it
  comes, compiled, and batching continuously (the large shape with `--model gpt-neo-2.7b-shape`). The defaults of
  `HANDFUL_MAX_BATCHED_TOKENS` and `HANDFUL_KV_MEMORY_MB` are those of a processor; a GPU may want more."""


def losses(results: Any, *, has_peers: bool) -> list[str]:
    """A line for each workload in which another engine was faster, and for what was not measured."""
    found, has_gpu = [], False
    for result in results:
        has_gpu |= "gpu" in result
        for workload, figures in result.get("results", {}).items():
            ahead = [f"{name} ({times:g}x)" for name, times in figures["times_faster_than"].items() if times < 1]
            if ahead:
                at = f"{workload}, {result['model']}, {result['processor']}"
                found.append(f"{at}: slower than {', '.join(ahead)}.")
    if not has_peers:
        found.append("OpenVINO GenAI, vLLM and llama.cpp have not been measured on this machine yet.")
    return found if has_gpu else [*found, UNMEASURED]


if __name__ == "__main__":
    main()

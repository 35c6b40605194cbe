"""Nearest examples against random ones where the answer is a word: English to French, present to past.

    python benchmarks/word_pairs.py --data FOLDER --document docs/word-pairs.md

FOLDER holds english-french.json and present-past.json (lists of {"input", "output"}), which are not part of handful.
Each seed draws queries out of the part that is measured; all other pairs are the pool that both ways choose from, so
the two answer the same queries and are compared seed by seed. `random` draws one set for all queries of a seed;
`nearest` chooses a set for each query by its character n-grams and shows the nearest last.

Each cell (task, shots, way, seed) becomes one record as soon as it is measured; cells that are in the records already
are not measured again, so a run can be cut off and continued. Tables are made from records. The last line printed is
one JSON document.
"""

import argparse
import json
import random
import statistics
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from cells import measured, read_records
from handful.backend import Backend
from handful.evals.intervals import t_interval
from handful.evals.text_metrics import text_metrics
from handful.learn.selecting import predict_selected
from handful.learn.selector import Selector, SelectorSettings, Strategy
from handful.task.task import Example, Task
from handful.types import GenerationParameters

Pair = tuple[str, str]
WAYS: tuple[Strategy, ...] = ("random", "nearest")
BATCH_SIZE = 64


@dataclass(frozen=True)
class Kind:
    """A task's file and the words of its prompt. The first `num_chosen_on` pairs were used to choose how to compare
    texts, so they are never asked here; `num_asked` of the others are, for each seed."""

    title: str
    file: str
    given: str
    wanted: str
    num_chosen_on: int
    num_asked: int

    @property
    def task(self) -> Task:
        """The prompt, without examples."""
        return Task(
            name="word-pairs",
            input=f"{self.given}: {{word}}",
            output=f"{self.wanted}: {{output}}",
            separator="\n\n",
            parameters=GenerationParameters(max_new_tokens=12, stop=("\n",)),
        )


KINDS = {
    "english-french": Kind("English to French", "english-french.json", "English", "French", 400, 200),
    "present-past": Kind("Present to past", "present-past.json", "Present", "Past", 146, 100),
}


@dataclass(frozen=True)
class Cell:
    """One measurement."""

    task: str
    shots: int
    way: Strategy
    seed: int


def main() -> None:
    """Measure what the records lack, write the document, print the summary."""
    arguments = parse()
    records = read_records(arguments.records)
    known = {(r["task"], r["shots"], r["way"], r["seed"]) for r in records}
    missing = [cell for cell in cells(arguments) if (cell.task, cell.shots, cell.way, cell.seed) not in known]
    pairs = {task: read_pairs(arguments.data, KINDS[task]) for task in arguments.tasks} if missing else {}
    records += measured(missing, lambda cell, model: measure(cell, pairs[cell.task], model), arguments)
    rows = summaries(records)
    if arguments.document:
        arguments.document.write_text(document(rows), encoding="utf-8")
    print(json.dumps({"workload": "word pairs", "rows": rows}))


def parse() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, required=True, help="folder with the pairs")
    parser.add_argument("--records", type=Path, default=Path("docs/word-pairs.jsonl"))
    parser.add_argument("--document", type=Path, help="Markdown file to write from the records")
    parser.add_argument("--tasks", nargs="+", default=list(KINDS), choices=list(KINDS))
    parser.add_argument("--shots", nargs="+", type=int, default=[8, 16])
    parser.add_argument("--seeds", type=int, default=5)
    parser.add_argument("--model", default="default")
    parser.add_argument("--precision", default="bfloat16", choices=["auto", "float32", "bfloat16"])
    return parser.parse_args()


def cells(arguments: argparse.Namespace) -> Iterator[Cell]:
    """Seed by seed, so that a run that is cut off has whole comparisons."""
    for seed in range(arguments.seeds):
        for task in arguments.tasks:
            for shots in arguments.shots:
                for way in WAYS:
                    yield Cell(task, shots, way, seed)


def read_pairs(folder: Path, kind: Kind) -> list[Pair]:
    """The pairs, each input once, in one fixed random order."""
    found: dict[str, str] = {}
    for pair in json.loads((folder / kind.file).read_text(encoding="utf-8")):
        found.setdefault(pair["input"], pair["output"])
    pairs = list(found.items())
    random.Random(0).shuffle(pairs)
    return pairs


def measure(cell: Cell, pairs: Sequence[Pair], model: Backend) -> dict[str, Any]:
    """Exact match, chrF and rate of one cell."""
    kind = KINDS[cell.task]
    asked = random.Random(f"queries {cell.seed}").sample(pairs[kind.num_chosen_on :], kind.num_asked)
    words = {word for word, _ in asked}
    pool = kind.task.with_examples(Example({"word": word}, answer) for word, answer in pairs if word not in words)
    settings = SelectorSettings(strategy=cell.way, num_shown=cell.shots, seed=cell.seed)
    selector = Selector(pool, settings)
    inputs = [word for word, _ in asked]
    answers: list[str] = []
    began = time.perf_counter()
    for first in range(0, len(inputs), BATCH_SIZE):
        found = predict_selected(selector, model, inputs[first : first + BATCH_SIZE])
        answers += [one.prediction for one in found]
    seconds = time.perf_counter() - began
    results = [{"prediction": said, "expected": answer} for said, (_, answer) in zip(answers, asked, strict=True)]
    metrics = text_metrics(results)
    return {
        "exact_match": metrics["exact_match"],
        "chrf": round(metrics["chrf"], 2),
        "num_queries": len(asked),
        "num_pool": len(pool.examples),
        "shared_example_tokens": round(selector.cost(inputs, model).shared, 3),
        "queries_per_s": round(len(asked) / seconds, 2),
    }


def summaries(records: Sequence[dict[str, Any]]) -> list[dict[str, Any]]:
    """One row for each task and number of shots: both ways, and nearest minus random over the seeds that both have."""
    rows = []
    for task, shots in dict.fromkeys((r["task"], r["shots"]) for r in records):
        found: dict[str, dict[int, dict[str, Any]]] = {
            way: {r["seed"]: r for r in records if (r["task"], r["shots"], r["way"]) == (task, shots, way)}
            for way in WAYS
        }
        seeds = sorted(set(found["random"]) & set(found["nearest"]))
        if len(seeds) < 2:
            continue
        gains = [100 * (found["nearest"][seed]["exact_match"] - found["random"][seed]["exact_match"]) for seed in seeds]
        interval = t_interval(gains)
        any_one = found["nearest"][seeds[0]]
        rows.append(
            {
                "task": task,
                "shots": shots,
                "gain": round(interval.mean, 1),
                "gain_low": round(interval.low, 1),
                "gain_high": round(interval.high, 1),
                "num_seeds": len(seeds),
            }
            | {way: way_summary([found[way][seed] for seed in seeds]) for way in WAYS}
            | {name: any_one[name] for name in ("num_queries", "num_pool", "model", "precision")}
        )
    return sorted(rows, key=lambda row: (list(KINDS).index(row["task"]), row["shots"]))


def way_summary(of: Sequence[dict[str, Any]]) -> dict[str, float]:
    matches = [100 * r["exact_match"] for r in of]
    return {
        "exact_match": round(statistics.mean(matches), 1),
        "deviation": round(statistics.stdev(matches), 1),
        "worst": round(min(matches), 1),
        "chrf": round(statistics.mean(r["chrf"] for r in of), 1),
        "queries_per_s": round(statistics.median(r["queries_per_s"] for r in of), 1),
        "shared": round(100 * statistics.mean(r["shared_example_tokens"] for r in of)),
    }


def document(rows: Sequence[dict[str, Any]]) -> str:
    """docs/word-pairs.md."""
    lines = [
        "# Nearest examples against random ones",
        "",
        "Written from its records (`word-pairs.jsonl`) by",
        "`python benchmarks/word_pairs.py --data FOLDER --document docs/word-pairs.md`.",
        "",
        "The answer is a word, written by the model and compared exactly. Each seed draws its own queries; all other",
        "pairs are the pool. `random` shows one set, drawn from the pool, to all queries of a seed; `nearest` shows",
        "each query the examples whose character n-grams are most like its own, the nearest last (`Selector`). Both",
        "answer the same queries, so the gain is taken seed by seed; its interval is Student's, of 95%. Ways to",
        "compare texts were tried on other pairs than those asked here ([log.md](log.md)). Queries a second are those",
        "of a machine that did other work at the same time, on one thread; shared is the part of the examples' tokens",
        "that is in the cache already.",
    ]
    for task in dict.fromkeys(row["task"] for row in rows):
        own = [row for row in rows if row["task"] == task]
        told = f"{own[0]['num_seeds']} x {own[0]['num_queries']} queries, {own[0]['num_pool']} pairs in the pool."
        lines += ["", f"## {KINDS[task].title}", "", f"Model `{own[0]['model']}`, {own[0]['precision']}. {told}", ""]
        lines += ["| shots | examples | exact match, % | standard deviation | worst seed | chrF | shared | queries/s |"]
        lines += ["|---|---|---|---|---|---|---|---|"]
        lines += [table_row(row, way) for row in own for way in WAYS]
        lines += [""] + [verdict(row) for row in own]
    return "\n".join(lines) + "\n"


def table_row(row: dict[str, Any], way: str) -> str:
    found = row[way]
    return (
        f"| {row['shots']} | {way} | {found['exact_match']:.1f} | {found['deviation']:.1f} | {found['worst']:.1f} "
        f"| {found['chrf']:.1f} | {found['shared']:.0f}% | {found['queries_per_s']:g} |"
    )


def verdict(row: dict[str, Any]) -> str:
    """Whether nearest examples are better, and whether that is beyond the luck of the draw."""
    told = f"* {row['shots']} shots: nearest minus random {row['gain']:+.1f} ({row['gain_low']:+.1f} to "
    told += f"{row['gain_high']:+.1f}) points: "
    if row["gain_low"] > 0:
        return told + "better."
    if row["gain"] > 0:
        return told + "better in the mean, within the luck of the draw."
    return told + "**not better**."


if __name__ == "__main__":
    main()

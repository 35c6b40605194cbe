"""How right few-shot classification is: plain scoring, `auto` and `auto` with tuned prompts, over example sets drawn
from the training part.

    python benchmarks/accuracy.py --data FOLDER --records accuracy.jsonl --document docs/accuracy.md

FOLDER holds sst2.train.txt and sst2.dev.txt (a line: 0 or 1, a space, the review) and agnews.csv (class 1 to 4,
title, description), which are not part of handful. Each cell (task, labels a class, method, seed) becomes one record
as soon as it is measured; cells that are in the records already are not measured again, so a run can be cut off and
continued.
Tables are made from records. The last line printed is one JSON document.
"""

import argparse
import csv
import json
import random
import statistics
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np

from cells import measured, read_records
from handful.backend import Backend
from handful.learn.estimator import FewShotClassifier

Row = tuple[str, int]
NUM_NEWS_TESTED = 1_000


@dataclass(frozen=True)
class Data:
    """A task's examples and queries, and the words of its prompt."""

    train: list[Row]
    test: list[Row]
    words: tuple[str, ...]
    input: str
    output: str


@dataclass(frozen=True)
class Cell:
    """One measurement: `method` on `labels_each` labelled examples of every class, drawn with `seed`."""

    task: str
    labels_each: int
    method: str
    seed: int


def main() -> None:
    """Measure what the records lack, write the document, print the summary."""
    arguments = parse()
    records = read_records(arguments.records)
    data = {name: LOADERS[name](arguments.data) for name in arguments.tasks}
    asked = [cell for cell in cells(arguments) if cell.method in arguments.methods]
    num_asked = {name: len(data[name].test[: arguments.queries or None]) for name in data}
    missing = [cell for cell in asked if not any(is_of(record, cell, num_asked[cell.task]) for record in records)]
    limits = (arguments.queries, arguments.prompt_epochs)
    records += measured(missing, lambda cell, model: measure(cell, data[cell.task], model, limits), arguments)
    rows = summaries(records)
    if arguments.document:
        arguments.document.write_text(document(rows), encoding="utf-8")
    print(json.dumps({"workload": "accuracy", "rows": rows}))


def parse() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, required=True, help="folder with the data sets")
    parser.add_argument("--records", type=Path, default=Path("accuracy.jsonl"))
    parser.add_argument("--document", type=Path, help="Markdown file to write from the records")
    parser.add_argument("--tasks", nargs="+", default=list(LOADERS), choices=list(LOADERS))
    parser.add_argument(
        "--labels", nargs="+", type=int, default=[8, 64], help="labelled examples a class, besides 4 shots"
    )
    parser.add_argument("--seeds", type=int, default=5)
    parser.add_argument("--queries", type=int, default=0, help="queries of the test part; 0 takes all")
    parser.add_argument("--model", default="default")
    parser.add_argument(
        "--methods",
        nargs="+",
        default=["plain", "auto"],
        choices=["plain", "auto", "tuned"],
        help=f"tuned: auto that tunes prompts, minutes an example set; only from {FEWEST_TUNED} labels a class",
    )
    parser.add_argument("--prompt-epochs", type=int, default=5, help="of tuning prompts")
    parser.add_argument("--precision", default="bfloat16", choices=["auto", "float32", "bfloat16"])
    return parser.parse_args()


def cells(arguments: argparse.Namespace) -> Iterator[Cell]:
    """Seed by seed, so that a run that is cut off has whole example sets."""
    for seed in range(arguments.seeds):
        for task in arguments.tasks:
            four_shots = 4 // len(WORDS[task])
            yield Cell(task, four_shots, "plain", seed)
            for labels_each in (four_shots, *arguments.labels):
                yield Cell(task, labels_each, "auto", seed)
                if labels_each >= FEWEST_TUNED:
                    yield Cell(task, labels_each, "tuned", seed)


def is_of(record: dict[str, Any], cell: Cell, num_queries: int) -> bool:
    same = all(record[name] == value for name, value in asdict(cell).items())
    return same and bool(record["num_queries"] == num_queries)


def measure(cell: Cell, data: Data, model: Backend, limits: tuple[int, int]) -> dict[str, Any]:
    """Accuracy, log loss and times of one cell; `limits` are queries (0 for all) and epochs of tuning prompts."""
    num_queries, prompt_epochs = limits
    is_tuned = cell.method == "tuned"
    shown = draw(data.train, len(data.words), cell.labels_each, cell.seed)
    tested = data.test[: num_queries or None]
    classifier = FewShotClassifier(
        model,
        input=data.input,
        output=data.output,
        label_words=dict(enumerate(data.words)),
        recipe="auto" if is_tuned else cell.method,
        prompt_epochs=prompt_epochs if is_tuned else 0,
        random_state=cell.seed,
    )
    start = time.perf_counter()
    classifier.fit([text for text, _ in shown], [label for _, label in shown])
    fitted = time.perf_counter()
    probabilities = classifier.predict_proba([text for text, _ in tested])
    ended = time.perf_counter()
    true = np.array([label for _, label in tested])
    choice = classifier.choice_
    return {
        "accuracy": float((probabilities.argmax(axis=1) == true).mean()),
        "log_loss": float(-np.log(probabilities[np.arange(len(true)), true] + 1e-12).mean()),
        "num_queries": len(tested),
        "recipe": choice.recipe,
        "prompt_epochs": prompt_epochs if is_tuned else 0,
        "num_passes": choice.num_passes,
        "expected_accuracy": choice.expected.accuracy if choice.expected.num_tried else None,
        "fit_s": round(fitted - start, 2),
        "queries_per_s": round(len(tested) / (ended - fitted), 2),
    }


def draw(train: Sequence[Row], num_classes: int, labels_each: int, seed: int) -> list[Row]:
    """`labels_each` examples of every class, shuffled; fewer of the same seed are not a part of more."""
    chooser = random.Random(f"{seed} {labels_each}")
    found = [
        row
        for label in range(num_classes)
        for row in chooser.sample([row for row in train if row[1] == label], labels_each)
    ]
    chooser.shuffle(found)
    return found


def reviews(folder: Path) -> Data:
    def read(name: str) -> list[Row]:
        lines = (folder / name).read_text(encoding="utf-8").splitlines()
        return [(line[2:], int(line[0])) for line in lines if line]

    train, test = read("sst2.train.txt"), read("sst2.dev.txt")
    return Data(train, test, WORDS["sst2"], "Review: {text}", "Sentiment: {output}")


def news(folder: Path) -> Data:
    with (folder / "agnews.csv").open(encoding="utf-8", newline="") as file:
        rows = [
            (f"{title.strip()}. {text.strip()}", int(label) - 1) for label, title, text in list(csv.reader(file))[1:]
        ]
    random.Random(0).shuffle(rows)
    train, test = rows[NUM_NEWS_TESTED:], rows[:NUM_NEWS_TESTED]
    return Data(train, test, WORDS["agnews"], "Input: {text}", "Type: {output}")


WORDS = {"sst2": ("negative", "positive"), "agnews": ("world", "sports", "business", "technology")}
LOADERS: dict[str, Callable[[Path], Data]] = {"sst2": reviews, "agnews": news}
GOALS = {("sst2", 2): 80, ("sst2", 8): 84, ("sst2", 64): 88, ("agnews", 8): 83, ("agnews", 64): 87}
FEWEST_TUNED = 32
TITLES = {"sst2": "SST-2", "agnews": "AG News"}


def summaries(records: Sequence[dict[str, Any]]) -> list[dict[str, Any]]:
    """One row for each task, number of labels and method: means and standard deviations over example sets."""
    parts = {(r["task"], r["labels_each"], r["method"], r["num_queries"]) for r in records}
    keys = sorted(parts, key=lambda key: (key[0] != "sst2", *key))
    rows = []
    for task, labels_each, method, num_queries in keys:
        wanted = (task, labels_each, method, num_queries)
        of = [r for r in records if (r["task"], r["labels_each"], r["method"], r["num_queries"]) == wanted]
        accuracies = [100 * r["accuracy"] for r in of]
        rows.append(
            {
                "task": task,
                "labels_each": labels_each,
                "method": method,
                "accuracy": round(statistics.mean(accuracies), 1),
                "deviation": round(statistics.stdev(accuracies), 1) if len(of) > 1 else None,
                "worst": round(min(accuracies), 1),
                "num_sets": len(of),
                "num_queries": num_queries,
                "log_loss": round(statistics.mean(r["log_loss"] for r in of), 3),
                "num_passes": round(statistics.mean(r["num_passes"] for r in of), 1),
                "queries_per_s": round(statistics.median(r["queries_per_s"] for r in of), 1),
                "recipes": sorted({r["recipe"] for r in of}),
                "model": of[0]["model"],
                "precision": of[0]["precision"],
            }
        )
    return rows


def document(rows: Sequence[dict[str, Any]]) -> str:
    """docs/accuracy.md."""
    lines = [
        "# Accuracy",
        "",
        "Written from its records by `python benchmarks/accuracy.py --data FOLDER --document docs/accuracy.md`.",
        "Examples are drawn from the training part, balanced, a new draw for each set. Queries are those of the test",
        "part (SST-2 dev; for AG News a part set aside with a fixed seed). `plain` is the probability of the label",
        "words behind one prompt of all examples; `auto` is `FewShotClassifier` with its defaults, which sees only the",
        "labelled examples; `tuned` is the same with `prompt_epochs`, which takes minutes to fit. Passes are runs",
        "through the model for one query, each behind a prefix that is computed",
        "once. Queries a second are those of two cores.",
        "",
        "The defaults of `auto` (how many prompts, how many examples in each, the weight of the scores) were chosen on",
        "the first 200 queries of each test part, so rows of 200 queries flatter it a little; other rows less.",
        "How prompts are chosen among several deals, how many of them where labels are many, and which layers a head",
        "reads was settled on held-out parts of the training data.",
    ]
    for task in dict.fromkeys(row["task"] for row in rows):
        own = [row for row in rows if row["task"] == task]
        lines += ["", f"## {TITLES[task]}", "", f"Model `{own[0]['model']}`, {own[0]['precision']}.", ""]
        lines += ["| labelled examples a class | method | accuracy | standard deviation | worst set | log loss "]
        lines[-1] += "| sets x queries | chosen | passes | queries/s |"
        lines += ["|---|---|---|---|---|---|---|---|---|---|"]
        lines += [table_row(row) for row in own]
    lines += ["", "## Goals", "", "| | goal | measured | |", "|---|---|---|---|", *goals(rows)]
    return "\n".join(lines) + "\n"


def goals(rows: Sequence[dict[str, Any]]) -> Iterator[str]:
    """Each goal beside what was measured; goals of which nothing was measured are left out."""
    found = {(row["task"], row["labels_each"], row["method"]): row for row in rows}
    for (task, labels_each), goal in GOALS.items():
        for method, how in (("auto", ""), ("tuned", ", prompts tuned")):
            if (row := found.get((task, labels_each, method))) is None:
                continue
            what = f"{TITLES[task]}, {labels_each} a class, accuracy{how}"
            yield f"| {what} | at least {goal} | {row['accuracy']:.1f} | {verdict(row['accuracy'] >= goal)} |"
    plain, auto = (found.get(("sst2", 2, method)) for method in ("plain", "auto"))
    if plain and auto and plain["deviation"] and auto["deviation"] is not None:
        ratio = auto["deviation"] / plain["deviation"]
        what = "SST-2, 4 shots, deviation over example sets against plain's"
        yield f"| {what} | below half | {ratio:.2f} | {verdict(ratio < 0.5)} |"


def verdict(is_reached: bool) -> str:
    return "reached" if is_reached else "**missed**"


def table_row(row: dict[str, Any]) -> str:
    spread = "" if row["deviation"] is None else f"{row['deviation']:.1f}"
    return (
        f"| {row['labels_each']} | {row['method']} | {row['accuracy']:.1f} | {spread} | {row['worst']:.1f} "
        f"| {row['log_loss']:.3f} | {row['num_sets']} x {row['num_queries']} | {', '.join(row['recipes'])} "
        f"| {row['num_passes']:g} | {row['queries_per_s']:g} |"
    )


if __name__ == "__main__":
    main()

"""What contrastive tuning of the sentence encoder gains: a logistic head on it as it is, and tuned.

    python benchmarks/tuned_encoder.py --data FOLDER --tasks agnews --labels 8 --seeds 3 --records tuned.jsonl

Data and draws of examples are those of accuracy.py. Each (task, labels a class, seed) becomes a record as soon as it is
measured; those in the records already are not measured again. The last line printed is one JSON document.
"""

import argparse
import json
import statistics
import time
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from accuracy import LOADERS, draw
from cells import read_records
from handful.learn.logistic import Logistic
from handful.local.encoder import load_encoder
from handful.pipelines.encoder import Encoder
from handful.types import EncoderTuning


def main() -> None:
    """Measure what the records lack, print the means."""
    asked = parse()
    records = read_records(asked.records)
    encoder = load_encoder()
    for seed in range(asked.seeds):
        for task in asked.tasks:
            for labels_each in asked.labels:
                key = {"task": task, "labels_each": labels_each, "seed": seed, "num_steps": asked.steps}
                key["num_queries"] = asked.queries
                if any(all(record[name] == value for name, value in key.items()) for record in records):
                    continue
                records.append(key | measure(encoder, asked, task, labels_each, seed))
                print(json.dumps(records[-1]), flush=True)
                with asked.records.open("a", encoding="utf-8") as file:
                    file.write(json.dumps(records[-1]) + "\n")
    print(json.dumps({"workload": "tuned encoder", "rows": rows(records)}))


def parse() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, required=True, help="folder with the data sets")
    parser.add_argument("--records", type=Path, default=Path("tuned.jsonl"))
    parser.add_argument("--tasks", nargs="+", default=["agnews"], choices=list(LOADERS))
    parser.add_argument("--labels", nargs="+", type=int, default=[8], help="labelled examples a class")
    parser.add_argument("--seeds", type=int, default=5)
    parser.add_argument("--steps", type=int, default=40)
    parser.add_argument("--queries", type=int, default=500, help="queries of the test part")
    return parser.parse_args()


def measure(encoder: Encoder, asked: argparse.Namespace, task: str, labels_each: int, seed: int) -> dict[str, Any]:
    """Accuracy of a head on the encoder before and after, and how long tuning took."""
    data = LOADERS[task](asked.data)
    shown = draw(data.train, len(data.words), labels_each, seed)
    texts, classes = [text for text, _ in shown], np.array([label for _, label in shown])
    tested = data.test[: asked.queries]
    start = time.perf_counter()
    tuned = encoder.tuned(texts, classes, EncoderTuning(num_steps=asked.steps, seed=seed))
    tuning_s = time.perf_counter() - start

    def accuracy(with_: Encoder) -> float:
        head = Logistic().fit(vectors(with_, texts), classes, len(data.words))
        said = head.log_probabilities(vectors(with_, [text for text, _ in tested])).argmax(axis=1)
        return float((said == [label for _, label in tested]).mean())

    return {"frozen": accuracy(encoder), "tuned": accuracy(tuned), "tuning_s": round(tuning_s, 1)}


def vectors(encoder: Encoder, texts: list[str]) -> NDArray[np.float64]:
    return encoder.embed(texts, truncate=True).astype(np.float64)


def rows(records: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Means and standard deviations over example sets, in percent."""
    found = []
    for key in sorted({(r["task"], r["labels_each"], r["num_steps"]) for r in records}):
        own = [r for r in records if (r["task"], r["labels_each"], r["num_steps"]) == key]
        row: dict[str, Any] = dict(zip(("task", "labels_each", "num_steps"), key, strict=True))
        for name in ("frozen", "tuned"):
            shares = [100 * r[name] for r in own]
            row[name] = round(statistics.mean(shares), 1)
            row[f"{name}_deviation"] = round(statistics.stdev(shares), 1) if len(shares) > 1 else None
        found.append(row | {"num_sets": len(own)})
    return found


if __name__ == "__main__":
    main()

"""The guard of the fast number formats: do they give the answers that float32 gives?

    python benchmarks/precision.py --data FOLDER

FOLDER holds SST-2 as `sst2.train.txt` and `sst2.dev.txt`, one `0 text` or `1 text` a line (1 is positive). For each of
several example sets (8 examples drawn from the training part) the probabilities of both labels are computed for every
review of the other part, in float32 and in each format. Without --data only the greedy text of the reference workload
is compared. All reviews of a set read the same prefix, with the same errors in it: any other rounding moves a set's
accuracy by up to three points, so three sets say little of a mean within one point.

The last line printed is one JSON document: mean KL divergence from float32, accuracy, agreement of the chosen label
with float32's, share of equal greedy tokens, and whether the guard holds: KL at most 0.01, accuracy within one point of
float32's, agreement at most 3 points below bfloat16's own. `linears_in_int8` says how many of each kind are quantised.
"""

import argparse
import json
import platform
import random
import time
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray

from handful.local import LocalModel, load
from handful.types import GenerationParameters, Precision
from workload import prompts as make_prompts

LABELS = ("negative", "positive")
MAX_MEAN_KL, MAX_ACCURACY_LOST, MAX_AGREEMENT_LOST = 0.01, 0.01, 0.03
NUM_GREEDY_PROMPTS, NUM_GREEDY_TOKENS = 64, 8

Rows = list[tuple[int, str]]


@dataclass(frozen=True, slots=True)
class Answers:
    """One format's: log-probabilities of the labels `[sets, reviews, 2]`, greedy texts, what is in int8, seconds."""

    logprobs: NDArray[np.float64]
    texts: list[str]
    int8: str
    label_s: float
    greedy_s: float


@dataclass(frozen=True, slots=True)
class Figures:
    """How one format compares with float32."""

    mean_kl: float
    accuracy: float
    accuracy_by_set: list[float]
    agreement: float
    greedy_prompts_equal: float
    greedy_tokens_equal: float
    label_s: float
    greedy_s: float


def main() -> None:
    """Run every format and print the comparison."""
    arguments = parse()
    sets: list[list[str]] = []
    truth = np.zeros(0)
    if arguments.data is not None:
        train, dev = read(arguments.data / "sst2.train.txt"), read(arguments.data / "sst2.dev.txt")
        dev = dev[: arguments.reviews]
        sets = [label_prompts(train, dev, arguments.shots, seed) for seed in range(arguments.sets)]
        truth = np.array([label for label, _ in dev])
    wanted: list[Precision] = ["float32", *arguments.precision]
    answers = {name: answer(arguments.model, name, sets) for name in wanted}
    found = {name: compare(given, answers["float32"], truth) for name, given in answers.items()}
    report = {
        "workload": "precision",
        "model": arguments.model,
        "linears_in_int8": {name: given.int8 for name, given in answers.items() if given.int8},
        "reviews": len(truth),
        "shots": arguments.shots,
        "example_sets": len(sets),
        "formats": {name: asdict(figures) for name, figures in found.items()},
        "guard": {name: holds(figures, found) for name, figures in found.items()} if sets else None,
        "torch": torch.__version__,
        "python": platform.python_version(),
        "threads": torch.get_num_threads(),
    }
    print(json.dumps(report))


def parse() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", default="default")
    parser.add_argument("--data", type=Path, help="folder with sst2.train.txt and sst2.dev.txt")
    parser.add_argument("--precision", nargs="+", default=["bfloat16", "int8"], choices=["bfloat16", "int8"])
    parser.add_argument("--reviews", type=int, default=872)
    parser.add_argument("--shots", type=int, default=8)
    parser.add_argument("--sets", type=int, default=8)
    return parser.parse_args()


def read(file: Path) -> Rows:
    """Labels and texts of a file."""
    rows = (line.split(" ", 1) for line in file.read_text(encoding="utf-8").splitlines() if line.strip())
    return [(int(label), text.strip()) for label, text in rows]


def label_prompts(train: Rows, dev: Rows, shots: int, seed: int) -> list[str]:
    """A prompt for every review, all behind the same examples, half of each label, in random order."""
    rng = random.Random(seed)
    chosen = [row for label in (0, 1) for row in rng.sample([r for r in train if r[0] == label], shots // 2)]
    rng.shuffle(chosen)
    prefix = "".join(f"Review: {text}\nSentiment: {LABELS[label]}\n\n" for label, text in chosen)
    return [f"{prefix}Review: {text}\nSentiment:" for _, text in dev]


def answer(name: str, precision: Precision, sets: Sequence[Sequence[str]]) -> Answers:
    """Everything that is asked of one format. The model is dropped afterwards."""
    model = load(name, precision=precision)
    if not isinstance(model, LocalModel) or model.info.engine != "native":
        raise SystemExit("the guard is about handful's own engine; choose a model of a native family")
    start = time.perf_counter()
    scored = [[s.logprobs for s in model.score(prompts, [f" {label}" for label in LABELS])] for prompts in sets]
    label_s = time.perf_counter() - start
    parameters = GenerationParameters(max_new_tokens=NUM_GREEDY_TOKENS, ignore_eos=True)
    start = time.perf_counter()
    texts = [a.completions[0].text for a in model.generate(make_prompts(NUM_GREEDY_PROMPTS), parameters)]
    greedy_s = time.perf_counter() - start
    tokens = [" ".join(map(str, model.tokenizer.encode(text))) for text in texts]
    int8 = model.info.details.get("int8", "")
    model.close()
    print(f"{precision}: labels {label_s:.1f} s, greedy {greedy_s:.1f} s", flush=True)
    return Answers(np.array(scored), tokens, int8, round(label_s, 2), round(greedy_s, 2))


def compare(given: Answers, oracle: Answers, truth: NDArray[np.float64]) -> Figures:
    """One format's answers beside float32's."""
    mean_kl, accuracy, agreement = 0.0, [0.0], 0.0
    if given.logprobs.size:
        p, q = normalised(oracle.logprobs), normalised(given.logprobs)
        mean_kl = float((np.exp(p) * (p - q)).sum(axis=-1).mean())
        chosen = given.logprobs.argmax(axis=-1)
        accuracy = [float(value) for value in (chosen == truth).mean(axis=-1)]
        agreement = float((chosen == oracle.logprobs.argmax(axis=-1)).mean())
    same = [a == b for a, b in zip(given.texts, oracle.texts, strict=True)]
    words = [
        sum(a == b for a, b in zip(x.split(), y.split(), strict=False)) / max(len(y.split()), 1)
        for x, y in zip(given.texts, oracle.texts, strict=True)
    ]
    return Figures(
        mean_kl=round(mean_kl, 6),
        accuracy=round(float(np.mean(accuracy)), 4),
        accuracy_by_set=[round(value, 4) for value in accuracy],
        agreement=round(agreement, 4),
        greedy_prompts_equal=round(float(np.mean(same)), 4),
        greedy_tokens_equal=round(float(np.mean(words)), 4),
        label_s=given.label_s,
        greedy_s=given.greedy_s,
    )


def normalised(logprobs: NDArray[np.float64]) -> NDArray[np.float64]:
    """Log-probabilities of the labels among themselves."""
    shifted = logprobs - logprobs.max(axis=-1, keepdims=True)
    result: NDArray[np.float64] = shifted - np.log(np.exp(shifted).sum(axis=-1, keepdims=True))
    return result


def holds(figures: Figures, found: Mapping[Precision, Figures]) -> bool:
    """Whether the guard holds for this format."""
    beside = found.get("bfloat16", found["float32"]).agreement
    return (
        figures.mean_kl <= MAX_MEAN_KL
        and abs(figures.accuracy - found["float32"].accuracy) <= MAX_ACCURACY_LOST
        and figures.agreement >= beside - MAX_AGREEMENT_LOST
    )


if __name__ == "__main__":
    main()

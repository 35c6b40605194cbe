"""W7: how throughput changes with shots, with requests side by side, and with pinned tasks that take turns.

    HANDFUL_KV_MEMORY_MB=12500 python benchmarks/growth.py --tasks 1 10 100 1000
    python benchmarks/growth.py --model gpt-neo-2.7b-shape --requests 16 --rounds 1 --concurrency 1 16 --tasks 1 4

Numbers of shots take turns, in each round all of them, with the cache empty and with their prefix pinned; the share of
the rate at 4 shots is the median of each round's. Beside it stands what the counted operations alone would give: that
share on an engine which runs them all at one speed.

A pinned task of 16 shots holds 464 tokens, 10.7 MB with the default model, so a thousand need more memory than a model
has by default. The last line printed is one JSON document.
"""

import argparse
import json
import statistics
from typing import Any

from counted import operations_together, shape_of
from environment import PRECISIONS, describe, forget, open_model, seconds_of
from handful.local import LocalModel
from handful.types import GenerationParameters
from peers.figures import num_shared
from workload import prefix as make_prefix
from workload import prompts as make_prompts

LABELS = (" positive", " negative")
COMPARED = 4  # shots
TOKENS = GenerationParameters(max_new_tokens=8, ignore_eos=True)


def main() -> None:
    """Measure along the three axes."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--model", default="default")
    parser.add_argument("--precision", default="auto", choices=PRECISIONS)
    parser.add_argument("--requests", type=int, default=256)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--shots", type=int, nargs="*", default=[0, 4, 16, 32, 64])
    parser.add_argument("--concurrency", type=int, nargs="*", default=[1, 4, 16, 64, 256])
    parser.add_argument("--tasks", type=int, nargs="*", default=[1, 10, 100])
    arguments = parser.parse_args()
    model = open_model(arguments.model, arguments.precision)
    found = describe(model, "W7 growth")
    count, rounds = arguments.requests, arguments.rounds
    found |= by_operations(model, arguments.model, arguments.shots, count)
    found |= by_shots(model, arguments.shots, count, rounds)
    found["requests_per_s_by_concurrency"] = {c: in_groups(model, c, rounds) for c in arguments.concurrency}
    found["pinned_tasks"] = {number: pinned(model, number) for number in arguments.tasks}
    found["kv_bytes_per_token"] = int(model.info.details["kv_bytes_per_token"])
    print(json.dumps(found))
    model.close()


def by_shots(model: LocalModel, shots: list[int], count: int, rounds: int) -> dict[str, dict[int, float]]:
    """Requests a second for all prompts at once, and each as a share of the rate at 4 shots."""
    prompts = {number: make_prompts(count, number) for number in shots}
    cold: dict[int, list[float]] = {number: [] for number in shots}
    pinned: dict[int, list[float]] = {number: [] for number in shots if number}
    for _ in range(rounds):
        for number in shots:
            cold[number].append(cold_rate(model, prompts[number]))
        for number in pinned:
            pinned[number].append(pinned_rate(model, make_prefix(number), prompts[number]))
    found = {}
    for name, rates in (("by_shots", cold), ("by_shots_pinned", pinned)):
        found[f"requests_per_s_{name}"] = {number: round(statistics.median(each), 3) for number, each in rates.items()}
        if COMPARED in rates:
            found[f"share_of_{COMPARED}_shots_{name}"] = {
                number: round(statistics.median(a / b for a, b in zip(each, rates[COMPARED], strict=True)), 3)
                for number, each in rates.items()
            }
    return found


def by_operations(model: LocalModel, name: str, shots: list[int], count: int) -> dict[str, dict[int, float]]:
    """The operations at 4 shots by those at others, with the prefix's and without."""
    shape, work = shape_of(name), {}
    for number in {*shots, COMPARED}:
        tokens = [model.tokenizer.encode(prompt) for prompt in make_prompts(count, number)]
        known = (0, num_shared(tokens))
        work[number] = [operations_together(shape, tokens, TOKENS.max_new_tokens, each) for each in known]
    return {
        f"share_of_{COMPARED}_shots_by_operations{pinned}": {
            number: round(work[COMPARED][column] / work[number][column], 3) for number in shots
        }
        for column, pinned in enumerate(("", "_pinned"))
    }


def cold_rate(model: LocalModel, prompts: list[str]) -> float:
    """With an empty cache at the start, so that the prefix is computed, too."""
    forget(model)
    return len(prompts) / seconds_of(model.generate, prompts, TOKENS)


def pinned_rate(model: LocalModel, prefix: str, prompts: list[str]) -> float:
    """Behind a prefix that is pinned, so that it is in memory when the clock starts."""
    forget(model)
    model.pin(prefix)
    try:
        return len(prompts) / seconds_of(model.generate, prompts, TOKENS)
    finally:
        model.unpin(prefix)


def in_groups(model: LocalModel, size: int, rounds: int) -> float:
    """Requests a second when `size` of them run at a time, prefix warm."""
    prompts = make_prompts(max(size, 8), 32)
    model.score(prompts[:1], LABELS)
    groups = [prompts[i : i + size] for i in range(0, len(prompts), size)]
    seconds = []
    for _ in range(rounds):
        forget(model)
        model.score(prompts[:1], LABELS)
        seconds.append(sum(seconds_of(model.generate, group, TOKENS) for group in groups))
    return round(len(prompts) / statistics.median(seconds), 3)


def pinned(model: LocalModel, number: int) -> dict[str, Any]:
    """`number` tasks of 16 shots, each pinned, one query each in turn: rate and the slots that the pins hold."""
    prefixes = [f"Task {i}. {make_prefix(16)}" for i in range(number)]
    before = model.stats().num_free_slots
    for prefix in prefixes:
        model.pin(prefix)
    held = before - model.stats().num_free_slots
    queries = [prefix + "Review: A joy.\nSentiment:" for prefix in prefixes] * max(1, 16 // number)
    seconds = seconds_of(model.score, queries, LABELS)
    for prefix in prefixes:
        model.unpin(prefix)
    forget(model)
    return {"requests_per_s": round(len(queries) / seconds, 2), "slots_held": held}


if __name__ == "__main__":
    main()

"""W7: how throughput changes with shots, with requests side by side, and with pinned tasks that take turns.

    HANDFUL_KV_MEMORY_MB=11000 python benchmarks/growth.py --tasks 1 10 100 1000
    python benchmarks/growth.py --model gpt-neo-2.7b-shape --requests 16 --rounds 1 --concurrency 1 16 --tasks 1 4

A pinned task of 16 shots holds 464 tokens, 10.7 MB with the default model, so a thousand need more memory than a model
has by default. The last line printed is one JSON document.
"""

import argparse
import json
import statistics
from typing import Any

from environment import PRECISIONS, describe, forget, open_model, seconds_of
from handful.local import LocalModel
from handful.types import GenerationParameters
from workload import prefix as make_prefix
from workload import prompts as make_prompts

LABELS = (" positive", " negative")
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
    found["requests_per_s_by_shots"] = {s: rate(model, make_prompts(count, s), rounds) for s in arguments.shots}
    found["requests_per_s_by_shots_pinned"] = {s: pinned_rate(model, s, count, rounds) for s in arguments.shots if s}
    found["requests_per_s_by_concurrency"] = {c: in_groups(model, c, rounds) for c in arguments.concurrency}
    found["pinned_tasks"] = {number: pinned(model, number) for number in arguments.tasks}
    found["kv_bytes_per_token"] = int(model.info.details["kv_bytes_per_token"])
    print(json.dumps(found))
    model.close()


def rate(model: LocalModel, prompts: list[str], rounds: int) -> float:
    """Requests a second for all prompts at once, cache empty at the start."""
    seconds = []
    for _ in range(rounds):
        forget(model)
        seconds.append(seconds_of(model.generate, prompts, TOKENS))
    return round(len(prompts) / statistics.median(seconds), 3)


def pinned_rate(model: LocalModel, shots: int, count: int, rounds: int) -> float:
    """The same behind a prefix that is pinned, so that it is in memory when the clock starts."""
    prefix, prompts, seconds = make_prefix(shots), make_prompts(count, shots), []
    for _ in range(rounds):
        forget(model)
        model.pin(prefix)
        seconds.append(seconds_of(model.generate, prompts, TOKENS))
        model.unpin(prefix)
    return round(count / statistics.median(seconds), 3)


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

"""W1, W2, W5: many queries behind one few-shot prefix, handful against Transformers in one run.

    python benchmarks/generate.py --against transformers            (32 shots: W1 and W2)
    python benchmarks/generate.py --against transformers --shots 4  (W5)
    python benchmarks/generate.py --against transformers --model gpt-neo-2.7b-shape --requests 16 --peer-requests 1
    python benchmarks/generate.py --against transformers --device cuda

All do the same work on the same prompts: examples (32: a 913-token prefix), about 39 query tokens, then 8 greedy
tokens with the end of text ignored, or the probabilities of two labels. "As it comes" is Transformers' `generate` or
forward pass, one request at a time, nothing reused, in the checkpoint's own type and in float32. "At its best" is the
prefix's `past_key_values` computed once and the queries batched by hand. Rounds of all alternate and medians are
reported, because a shared machine may run at half speed a minute later. handful's rounds begin with an empty cache: the
prefix is computed within the time measured.

On a GPU Transformers also runs compiled and by its continuous batching, where it has these for the model, and
everything runs once before the first round.

The last line printed is one JSON document.
"""

import argparse
import json
import statistics
import time
from collections.abc import Callable, Sequence
from functools import partial
from typing import Any

from environment import DEVICES, PRECISIONS, describe, forget, open_model
from handful.local import LocalModel
from handful.types import GenerationParameters
from transformers_peer import MAX_BATCH, NUM_NEW_TOKENS, Transformers
from workload import prefix as make_prefix
from workload import prompts as make_prompts

LABELS = (" positive", " negative")


def main() -> None:
    """Run the rounds and print the figures."""
    arguments = parse()
    prompts = make_prompts(arguments.requests, arguments.shots)
    model = open_model(arguments.model, arguments.precision, arguments.device)
    found = describe(model, "W1 generate, W2 label" if arguments.shots == 32 else "W5 short")
    work = our_work(model, prompts)
    if arguments.against == "transformers":
        work |= peer_work(arguments, prompts, model.info.device)
    if model.info.device == "cuda":
        work, found["not_run"] = runnable(work)
    seconds: dict[str, list[float]] = {name: [] for name in work}
    answers: dict[str, Any] = {}
    for number in range(arguments.rounds):
        for name, (count, run) in work.items():
            forget(model)
            start = time.perf_counter()
            answers[name] = run()
            seconds[name].append(time.perf_counter() - start)
            print(f"round {number + 1} {name}: {count / seconds[name][-1]:.2f} requests/s", flush=True)
    rate = {name: round(work[name][0] / statistics.median(times), 3) for name, times in seconds.items()}
    found |= {"shots": arguments.shots, "requests": arguments.requests, "rounds": arguments.rounds}
    found |= {"requests_per_s": rate} | comparison(rate, answers)
    print(json.dumps(found))
    model.close()


def parse() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", default="default")
    parser.add_argument("--precision", default="auto", choices=PRECISIONS)
    parser.add_argument("--device", default="auto", choices=DEVICES)
    parser.add_argument("--requests", type=int, default=256)
    parser.add_argument("--shots", type=int, default=32)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--against", choices=["transformers", "nothing"], default="nothing")
    parser.add_argument("--peer-requests", type=int, default=4, help="requests a round for the slower peer")
    return parser.parse_args()


Work = dict[str, tuple[int, Callable[[], Any]]]


def our_work(model: LocalModel, prompts: Sequence[str]) -> Work:
    parameters = GenerationParameters(max_new_tokens=NUM_NEW_TOKENS, ignore_eos=True)

    def generate() -> list[str]:
        return [answer.completions[0].text for answer in model.generate(prompts, parameters)]

    def label() -> list[tuple[float, ...]]:
        return [score.logprobs for score in model.score(prompts, LABELS)]

    return {"handful_generate": (len(prompts), generate), "handful_label": (len(prompts), label)}


def peer_work(arguments: argparse.Namespace, prompts: Sequence[str], device: str) -> Work:
    few, some, many = (prompts[:count] for count in (arguments.peer_requests, MAX_BATCH, 4 * MAX_BATCH))
    work: Work = {}
    for dtype in ("auto", "float32"):
        if f"transformers_{dtype}_generate" in work:
            break  # float32 is the checkpoint's own type; a large model is not loaded twice
        peer = Transformers(arguments.model, dtype, device)
        name = f"transformers_{peer.dtype}"
        work |= {
            f"{name}_generate": (len(few), partial(peer.generate, few)),
            f"{name}_prefix_generate": (len(many), partial(peer.generate, many, with_prefix=True)),
            f"{name}_label": (len(few), partial(peer.label, few, LABELS)),
            f"{name}_prefix_label": (
                len(some),
                partial(peer.label_with_prefix, make_prefix(arguments.shots), some, LABELS),
            ),
        }
        if device == "cuda":  # its best there: compiled, and by continuous batching
            work[f"{name}_compiled_generate"] = (len(few), partial(peer.generate_compiled, few))
            work[f"{name}_continuous_generate"] = (len(prompts), partial(peer.generate_continuously, prompts))
    return work


def runnable(work: Work) -> tuple[Work, dict[str, str]]:
    """What runs, after one run of each that sets up what is compiled or recorded, and why the rest doesn't."""
    ready, failed = {}, {}
    for name, (count, run) in work.items():
        try:
            run()
            ready[name] = (count, run)
        except Exception as error:  # a peer without such a path for the model may say so in any way
            if name.startswith("handful"):
                raise
            failed[name] = f"{type(error).__name__}: {error}"[:200]
    return ready, failed


def comparison(rate: dict[str, float], answers: dict[str, Any]) -> dict[str, Any]:
    """Ratios and agreement with every peer that ran."""
    times, same, differences = {}, {}, {}
    for name, theirs in answers.items():
        if name.startswith("handful"):
            continue
        kind = "generate" if name.endswith("generate") else "label"
        times[name] = round(rate[f"handful_{kind}"] / rate[name], 1)
        ours = answers[f"handful_{kind}"][: len(theirs)]
        if kind == "generate":
            same[name] = f"{sum(a == b for a, b in zip(ours, theirs, strict=True))} of {len(theirs)}"
        else:
            pairs = [abs(a - b) for x, y in zip(ours, theirs, strict=True) for a, b in zip(x, y, strict=True)]
            differences[name] = round(max(pairs), 5)
    return {"times_faster_than": times, "same_text": same, "largest_logprob_difference": differences}


if __name__ == "__main__":
    main()

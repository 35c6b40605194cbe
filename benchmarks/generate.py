"""W1 and W2: many queries behind one few-shot prefix, handful against Transformers as it comes, in one run.

    python benchmarks/generate.py --against transformers

Both do the same work on the same prompts: 32 examples (a 913-token prefix), about 39 query tokens, 8 greedy tokens,
end of text ignored (W1), or the probabilities of two labels (W2). "As it comes" means `generate` of one request at a
time with the checkpoint's own type, no prefix reused: what the quick start of Transformers does. Rounds of both
alternate, and medians are reported, because a shared machine may run at half speed a minute later. handful's rounds
begin with an empty cache; the prefix is computed within the time measured.

The last line printed is one JSON document.
"""

import argparse
import json
import platform
import statistics
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import torch

from handful.config import settings
from handful.local import LocalModel, load
from handful.model.source import resolve
from handful.types import GenerationParameters
from workload import prompts as make_prompts

LABELS = (" positive", " negative")
NUM_NEW_TOKENS = 8


def main() -> None:
    """Run the rounds and print the figures."""
    arguments = parse()
    prompts = make_prompts(arguments.requests, arguments.shots)
    model = load(arguments.model, precision=arguments.precision)
    if not isinstance(model, LocalModel):
        raise SystemExit("this benchmark times handful's own engine; choose a model of a native family")
    work: dict[str, tuple[Callable[[], Any], int]] = {
        "handful_generate": (lambda: handful_generate(model, prompts), len(prompts)),
        "handful_label": (lambda: model.score(prompts, LABELS), len(prompts)),
    }
    if arguments.against == "transformers":
        few = prompts[: arguments.peer_requests]
        peer = Transformers(arguments.model, arguments.peer_dtype)
        work["transformers_generate"] = (lambda: peer.generate(few), len(few))
        work["transformers_label"] = (lambda: peer.label(few), len(few))
    model.score(prompts[-1:], LABELS)  # warm up: first calls set buffers up
    seconds: dict[str, list[float]] = {name: [] for name in work}
    answers: dict[str, Any] = {}
    for number in range(arguments.rounds):
        for name, (run, _) in work.items():
            model.loop.call(lambda engine: engine.scheduler.cache.clear())
            start = time.perf_counter()
            answers[name] = run()
            seconds[name].append(time.perf_counter() - start)
            print(f"round {number + 1} {name}: {work[name][1] / seconds[name][-1]:.2f} requests/s", flush=True)
    print(json.dumps(report(arguments, model, seconds, {name: count for name, (_, count) in work.items()}, answers)))


def parse() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", default="default")
    parser.add_argument("--precision", default="auto", choices=["auto", "float32", "bfloat16"])
    parser.add_argument("--requests", type=int, default=256)
    parser.add_argument("--shots", type=int, default=32)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--against", choices=["transformers", "nothing"], default="nothing")
    parser.add_argument("--peer-requests", type=int, default=6, help="requests a round for the slower peer")
    parser.add_argument("--peer-dtype", default="auto", choices=["auto", "float32", "bfloat16"])
    return parser.parse_args()


def handful_generate(model: LocalModel, prompts: Sequence[str]) -> list[str]:
    parameters = GenerationParameters(max_new_tokens=NUM_NEW_TOKENS, ignore_eos=True)
    return [answer.completions[0].text for answer in model.generate(prompts, parameters)]


class Transformers:
    """The model in Transformers, one request at a time."""

    def __init__(self, name: str, dtype: str) -> None:
        from transformers import AutoModelForCausalLM, AutoTokenizer

        folder: Path = resolve(name, settings=settings()).folder
        self.tokenizer: Any = AutoTokenizer.from_pretrained(folder)
        chosen: Any = dtype if dtype == "auto" else getattr(torch, dtype)
        self.model: Any = AutoModelForCausalLM.from_pretrained(folder, dtype=chosen).eval()
        self.dtype = str(self.model.dtype).removeprefix("torch.")

    @torch.inference_mode()
    def generate(self, prompts: Sequence[str]) -> list[str]:
        texts = []
        for prompt in prompts:
            encoded = self.tokenizer(prompt, return_tensors="pt")
            ended = self.model.generate(
                **encoded, max_new_tokens=NUM_NEW_TOKENS, min_new_tokens=NUM_NEW_TOKENS, do_sample=False, pad_token_id=0
            )
            texts.append(self.tokenizer.decode(ended[0, encoded["input_ids"].shape[1] :]))
        return texts

    @torch.inference_mode()
    def label(self, prompts: Sequence[str]) -> list[list[float]]:
        return [[self._score(prompt, label) for label in LABELS] for prompt in prompts]

    def _score(self, prompt: str, label: str) -> float:
        ids = self.tokenizer(prompt + label, return_tensors="pt")["input_ids"]
        num_prompt = len(self.tokenizer(prompt)["input_ids"])
        logprobs = self.model(ids).logits[0, num_prompt - 1 : -1].float().log_softmax(dim=-1)
        return float(logprobs.gather(1, ids[0, num_prompt:, None]).sum())


def report(
    arguments: argparse.Namespace,
    model: LocalModel,
    seconds: dict[str, list[float]],
    counts: dict[str, int],
    answers: dict[str, Any],
) -> dict[str, Any]:
    rate = {name: round(counts[name] / statistics.median(times), 3) for name, times in seconds.items()}
    found: dict[str, Any] = {
        "workload": "W1 generate, W2 label",
        "model": model.info.name,
        "precision": model.info.precision,
        "shots": arguments.shots,
        "requests": arguments.requests,
        "rounds": arguments.rounds,
        "requests_per_s": rate,
        "processor": processor(),
        "threads": torch.get_num_threads(),
        "torch": torch.__version__,
        "python": platform.python_version(),
    }
    if "transformers_generate" in rate:
        found["times_transformers"] = {
            kind: round(rate[f"handful_{kind}"] / rate[f"transformers_{kind}"], 1) for kind in ("generate", "label")
        }
        found["same_text_as_transformers"] = agreement(answers["handful_generate"], answers["transformers_generate"])
        found["largest_logprob_difference"] = round(
            max(
                abs(a - b)
                for ours, theirs in zip(answers["handful_label"], answers["transformers_label"], strict=False)
                for a, b in zip(ours.logprobs, theirs, strict=True)
            ),
            4,
        )
    return found


def agreement(ours: Sequence[str], theirs: Sequence[str]) -> str:
    same = sum(a == b for a, b in zip(ours, theirs, strict=False))
    return f"{same} of {len(theirs)}"


def processor() -> str:
    for line in Path("/proc/cpuinfo").read_text().splitlines():
        if line.startswith("model name"):
            return line.split(":", 1)[1].strip()
    return platform.processor()


if __name__ == "__main__":
    main()

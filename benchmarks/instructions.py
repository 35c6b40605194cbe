"""What handful's kernels for processors without AVX-512 give over torch there, in one process and in turns.

    python benchmarks/instructions.py --requests 64

Torch itself is kept to AVX2. The work is W1's and W2's (generate.py), on one thread; each round measures every
combination that the processor has once, beginning with an empty cache, and the medians of the processor time of a
request are reported: they mind a shared machine less than the clock does.

The last line printed is one JSON document.
"""

import argparse
import json
import os
import statistics
import time
from dataclasses import dataclass

# Read by torch and its libraries when they are loaded, which the imports below do.
os.environ |= {"ATEN_CPU_CAPABILITY": "avx2", "ONEDNN_MAX_CPU_ISA": "AVX2", "MKL_ENABLE_INSTRUCTIONS": "AVX2"}

import torch

from environment import describe, forget
from generate import our_work
from handful.config import Settings
from handful.local import LocalModel, load
from handful.model.ops.native.loading import AVX_VNNI, library, limit_instructions
from handful.types import Instructions, Precision
from shapes import folder_of
from workload import prompts as make_prompts


@dataclass(frozen=True, slots=True)
class Combination:
    """What the kernels may use, and the model's precision."""

    instructions: Instructions
    precision: Precision

    @property
    def name(self) -> str:
        return f"{self.instructions}, {self.precision}"


COMBINATIONS = (
    Combination("none", "float32"),
    Combination("avx2", "float32"),
    Combination("avx2", "auto"),
    Combination("avx-vnni", "auto"),
)


def main() -> None:
    """Run the rounds and print the figures."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", default="default")
    parser.add_argument("--requests", type=int, default=64)
    parser.add_argument("--shots", type=int, default=32)
    parser.add_argument("--rounds", type=int, default=3)
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    prompts = make_prompts(arguments.requests, arguments.shots)
    combinations = [c for c in COMBINATIONS if c.instructions != "avx-vnni" or has_avx_vnni()]
    models = {c: open_limited(arguments.model, c) for c in combinations}
    seconds: dict[str, dict[str, list[float]]] = {c.name: {} for c in combinations}
    for number in range(arguments.rounds):
        for combination, model in models.items():
            limit_instructions(combination.instructions)
            for work, (count, run) in our_work(model, prompts).items():
                forget(model)
                start = time.process_time()
                run()
                each = (time.process_time() - start) / count
                seconds[combination.name].setdefault(work, []).append(each)
                print(f"round {number + 1} {combination.name} {work}: {1000 * each:.1f} ms a request", flush=True)
    milliseconds = {
        c.name: {"precision": model.info.precision}
        | {work: round(1000 * statistics.median(times), 2) for work, times in seconds[c.name].items()}
        for c, model in models.items()
    }
    found = describe(next(iter(models.values())), "instructions")
    del found["precision"]  # each combination has its own
    found |= {"shots": arguments.shots, "requests": arguments.requests, "rounds": arguments.rounds}
    print(json.dumps(found | {"processor_ms_a_request": milliseconds}))
    for model in models.values():
        model.close()


def has_avx_vnni() -> bool:
    """Whether this processor has it: else what is limited to it would run with AVX2."""
    found = library()
    return found is not None and found.has(AVX_VNNI)


def open_limited(name: str, combination: Combination) -> LocalModel:
    """The model with its kernels chosen under the combination's limit."""
    chosen = Settings(instructions=combination.instructions, threads=1)
    model = load(folder_of(name), precision=combination.precision, configuration=chosen)
    model.score(["warm"], [" up"])
    return model


if __name__ == "__main__":
    main()

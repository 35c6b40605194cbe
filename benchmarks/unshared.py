"""W6: nothing shared: 500 different tokens a request, 8 new tokens. Where a prefix cache can't help.

The last line printed is one JSON document.
"""

import argparse
import json
import statistics

from environment import PRECISIONS, describe, forget, open_model, seconds_of
from handful.types import GenerationParameters
from workload import unshared


def main() -> None:
    """Time rounds of prompts that share nothing."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--model", default="default")
    parser.add_argument("--precision", default="auto", choices=PRECISIONS)
    parser.add_argument("--requests", type=int, default=32)
    parser.add_argument("--rounds", type=int, default=3)
    arguments = parser.parse_args()
    model = open_model(arguments.model, arguments.precision)
    found = describe(model, "W6 nothing shared")
    prompts = unshared(arguments.requests)
    parameters = GenerationParameters(max_new_tokens=8, ignore_eos=True)
    seconds = []
    for _ in range(arguments.rounds):
        forget(model)
        seconds.append(seconds_of(model.generate, prompts, parameters))
    found |= {"requests": arguments.requests, "prompt_tokens": model.count_tokens(prompts[0])}
    found |= {"requests_per_s": round(arguments.requests / statistics.median(seconds), 3)}
    print(json.dumps(found))
    model.close()


if __name__ == "__main__":
    main()

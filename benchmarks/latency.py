"""W3: one warm request at a time, the prefix in the cache: 8 tokens, or two labels only.

The last line printed is one JSON document.
"""

import argparse
import json

from environment import PRECISIONS, describe, median_ms, open_model, seconds_of
from handful.types import GenerationParameters
from workload import prompts as make_prompts


def main() -> None:
    """Time requests one by one."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--model", default="default")
    parser.add_argument("--precision", default="auto", choices=PRECISIONS)
    parser.add_argument("--requests", type=int, default=30)
    arguments = parser.parse_args()
    model = open_model(arguments.model, arguments.precision)
    found = describe(model, "W3 latency")
    prompts = make_prompts(2 * arguments.requests + 1, 32)
    labels = (" positive", " negative")
    model.score(prompts[-1:], labels)
    tokens = GenerationParameters(max_new_tokens=8, ignore_eos=True)
    generating = [seconds_of(model.generate, [p], tokens) for p in prompts[: arguments.requests]]
    labelling = [seconds_of(model.score, [p], labels) for p in prompts[arguments.requests : -1]]
    found |= {
        "requests": arguments.requests,
        "p50_ms": {"generate_8": median_ms(generating), "label": median_ms(labelling)},
    }
    print(json.dumps(found))
    model.close()


if __name__ == "__main__":
    main()

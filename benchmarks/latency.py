"""W3: one warm request at a time, the prefix in the cache: 8 tokens, or two labels only.

`passes` says how many forward passes the 8 tokens took, and how many tokens were drafted and came true (`--no-drafts`
makes none). The last line printed is one JSON document.
"""

import argparse
import json
from typing import Any

from environment import PRECISIONS, describe, median_ms, open_model, seconds_of
from handful.local import LocalModel
from handful.types import GenerationParameters
from workload import prompts as make_prompts


def main() -> None:
    """Time requests one by one."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--model", default="default")
    parser.add_argument("--precision", default="auto", choices=PRECISIONS)
    parser.add_argument("--requests", type=int, default=30)
    parser.add_argument("--no-drafts", action="store_true")
    arguments = parser.parse_args()
    model = open_model(arguments.model, arguments.precision, drafts=not arguments.no_drafts)
    found = describe(model, "W3 latency")
    prompts = make_prompts(2 * arguments.requests + 1, 32)
    labels = (" positive", " negative")
    model.score(prompts[-1:], labels)
    tokens = GenerationParameters(max_new_tokens=8, ignore_eos=True)
    before = counts(model)
    generating = [seconds_of(model.generate, [p], tokens) for p in prompts[: arguments.requests]]
    after = counts(model)
    labelling = [seconds_of(model.score, [p], labels) for p in prompts[arguments.requests : -1]]
    found |= {
        "requests": arguments.requests,
        "p50_ms": {"generate_8": median_ms(generating), "label": median_ms(labelling)},
        "passes": passes({name: after[name] - before[name] for name in after}, arguments.requests),
    }
    print(json.dumps(found))
    model.close()


def counts(model: LocalModel) -> dict[str, int]:
    """The engine's counters so far."""
    stats = model.stats()
    return {
        "steps": stats.num_steps,
        "generated": stats.num_generated_tokens,
        "drafted": stats.num_drafted_tokens,
        "accepted": stats.num_accepted_tokens,
    }


def passes(counted: dict[str, int], num_requests: int) -> dict[str, Any]:
    """What a request took, by the counters of some that came one after the other."""
    each = {f"{name}_a_request": round(count / num_requests, 2) for name, count in counted.items()}
    return each | {
        "tokens_a_step": round(counted["generated"] / counted["steps"], 2),
        "acceptance": round(counted["accepted"] / counted["drafted"], 3) if counted["drafted"] else None,
    }


if __name__ == "__main__":
    main()

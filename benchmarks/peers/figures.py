"""Rates, ratios and agreement from the rounds of a workload."""

import statistics
from collections import defaultdict
from collections.abc import Sequence
from itertools import takewhile
from typing import Any

from peers.jobs import Job
from peers.pipe import Round

OURS = "handful"


class Figures:
    """Seconds of each engine's rounds of one workload."""

    def __init__(self, job: Job) -> None:
        self.job = job
        self.requests: dict[str, int] = {}
        self.new_tokens: dict[str, int] = {}
        self.prompt_tokens = 0.0
        self.shared_tokens = 0
        self.seconds: dict[str, list[list[float]]] = defaultdict(list)

    def add(self, name: str, work: Round, seconds: list[float]) -> None:
        """Note a round: one figure for all its requests, or one for each."""
        self.requests[name] = len(work.ids)
        self.new_tokens[name] = work.new_tokens
        self.prompt_tokens = statistics.mean(len(ids) for ids in work.ids)
        self.shared_tokens = num_shared(work.ids)
        self.seconds[name].append(seconds)

    def last(self, name: str) -> str:
        """The last round in words."""
        each = self._each(name)[-1]
        return f"p50 {1000 * each:.0f} ms" if self.job.one_by_one else f"{1 / each:.2f} requests/s"

    def summary(self) -> dict[str, Any]:
        """The workload's figures; `times_faster_than` says how many times handful is as fast as an engine."""
        found: dict[str, Any] = {"what": self.job.what, "prompt_tokens": round(self.prompt_tokens)}
        found |= {"shared_tokens": self.shared_tokens}
        found |= {"requests": self.requests, "new_tokens": self.new_tokens}
        each = {name: self._each(name) for name in self.seconds}
        if self.job.one_by_one:
            found["p50_ms"] = {name: round(1000 * statistics.median(values), 1) for name, values in each.items()}
        else:
            found["requests_per_s"] = {name: _short(1 / statistics.median(values)) for name, values in each.items()}
        ours = each.get(OURS, [])
        found["times_faster_than"] = {
            name: _short(statistics.median(theirs / our for our, theirs in zip(ours, values, strict=False)))
            for name, values in each.items()
            if ours and not name.startswith(OURS)
        }
        return found

    def _each(self, name: str) -> list[float]:
        """Seconds a request of each round (of a round one by one: the median)."""
        if self.job.one_by_one:
            return [statistics.median(seconds) for seconds in self.seconds[name]]
        return [sum(seconds) / self.requests[name] for seconds in self.seconds[name]]


def agreement(reference: Sequence[list[int]], tokens: Sequence[list[int]]) -> dict[str, str]:
    """How many answers begin with the reference's first token, and how many have all its tokens."""
    pairs = list(zip(reference, tokens, strict=False))
    return {
        "same_first_token": f"{sum(ours[:1] == theirs[:1] for ours, theirs in pairs)} of {len(pairs)}",
        "same_tokens": f"{sum(ours == theirs for ours, theirs in pairs)} of {len(pairs)}",
    }


def num_shared(prompts: Sequence[list[int]]) -> int:
    """Tokens with which all prompts begin; 0 for a single one."""
    columns = zip(*prompts, strict=False) if len(prompts) > 1 else ()
    return len(list(takewhile(lambda column: len(set(column)) == 1, columns)))


def _short(value: float) -> float:
    return float(f"{value:.4g}")

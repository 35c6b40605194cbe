"""What an engine's process says and hears: one JSON line in, one JSON line out. Standard library only.

An engine is loaded once, says that it is ready, and then does one `Round` after the other on command, so that loading
is never timed and rounds of several engines can take turns. Whatever an engine prints goes to standard error.
"""

import json
import os
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Protocol


@dataclass(frozen=True, slots=True)
class Round:
    """One piece of timed work.

    ids         prompts as token ids; `texts` are the same prompts as text
    new_tokens  how many tokens to generate, the end of text ignored; 0: score `labels` instead
    one_by_one  each request by itself, timed by itself; otherwise all at once
    shared      all prompts begin alike, so an engine may be shown one of them first (within the time measured)
    """

    ids: list[list[int]]
    texts: list[str]
    new_tokens: int
    labels: list[str]
    one_by_one: bool
    shared: bool


Tokens = list[list[int]]


class Engine(Protocol):
    """What a peer's program provides."""

    def version(self) -> str:
        """Name and version of what runs, and its settings that matter."""
        ...

    def forget(self) -> None:
        """Empty the prefix cache where the engine allows it; not timed."""
        ...

    def run(self, work: Round) -> Tokens:
        """The generated token ids of each prompt; for labels nothing."""
        ...


def serve(make: Callable[[], Engine]) -> None:
    """Load an engine and answer rounds until standard input ends."""
    answers = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)  # from here on, what the engine's own code prints to standard output is no answer
    start = time.perf_counter()
    engine = make()
    _say(answers, {"ready": engine.version(), "load_seconds": round(time.perf_counter() - start, 1)})
    for line in sys.stdin:
        asked = json.loads(line)
        work = Round(**asked["round"])
        if asked["forget"]:
            engine.forget()
        seconds, tokens = _timed(engine, work)
        _say(answers, {"seconds": seconds, "tokens": tokens})
    answers.close()
    os._exit(0)  # some engines' threads outlive their work


def _timed(engine: Engine, work: Round) -> tuple[list[float], Tokens]:
    """Seconds of each request of a round that goes one by one, or of the whole round; and its tokens."""
    parts = [_single(work, i) for i in range(len(work.ids))] if work.one_by_one else [work]
    seconds: list[float] = []
    tokens: Tokens = []
    for part in parts:
        start = time.perf_counter()
        tokens += engine.run(part)
        seconds.append(time.perf_counter() - start)
    return seconds, tokens


def _single(work: Round, i: int) -> Round:
    return Round([work.ids[i]], [work.texts[i]], work.new_tokens, work.labels, work.one_by_one, shared=False)


def _say(answers: Any, what: dict[str, Any]) -> None:
    answers.write(json.dumps(what) + "\n")
    answers.flush()


def first_alone(ids: Sequence[list[int]], *, shared: bool) -> list[Sequence[list[int]]]:
    """The prompts in the groups in which they are best sent: one that fills the prefix cache, then the others."""
    return [ids[:1], ids[1:]] if shared and len(ids) > 1 else [ids]

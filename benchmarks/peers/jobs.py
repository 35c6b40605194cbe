"""The workloads that engines take turns in, and the rounds that they are made of."""

from dataclasses import dataclass

from handful.model.tokenizer import Tokenizer
from peers.pipe import Round
from workload import prompts, unshared

LABELS = [" positive", " negative"]
END = "\n###"
NUM_NEW = 8
NUM_ONE_BY_ONE = 20
NUM_ONE_BY_ONE_OF_SLOW = 3


@dataclass(frozen=True, slots=True)
class Job:
    """A workload. `shots` is None where prompts share nothing; `label`: a label is wanted, not eight tokens."""

    what: str
    shots: int | None = 32
    label: bool = False
    one_by_one: bool = False

    def num_requests(self, count: int) -> int:
        """Requests of a round when a whole one has `count`."""
        if self.one_by_one:
            return min(count, NUM_ONE_BY_ONE)
        return count if self.shots is not None else max(1, count // 8)

    def skips(self, engine: str) -> bool:
        """Whether there is nothing for an engine to show: a prefix reused by hand, where none is or none is timed."""
        return engine == "transformers-prefix" and (self.label or self.one_by_one or not self.shots)


JOBS = {
    "W1": Job("8 tokens behind 32 shots, all at once"),
    "W2": Job("the label behind 32 shots, all at once", label=True),
    "W3": Job("8 tokens behind 32 shots, one warm request at a time", one_by_one=True),
    "W3-label": Job("the label behind 32 shots, one warm request at a time", label=True, one_by_one=True),
    "W5": Job("8 tokens behind 4 shots, all at once", shots=4),
    "W6": Job("8 tokens behind 500 tokens that nothing shares", shots=None),
    "shots-0": Job("8 tokens without examples, all at once", shots=0),
    "shots-16": Job("8 tokens behind 16 shots, all at once", shots=16),
    "shots-64": Job("8 tokens behind 64 shots, all at once", shots=64),
}


def make_round(
    job: Job, engine: str, count: int, number: int, tokenizer: Tokenizer, *, is_warming: bool = False
) -> Round:
    """The work of round `number`, the same prompts for every engine; for warming one query that no round asks."""
    variant = 100 * list(JOBS.values()).index(job) + number  # no prefix comes twice
    if job.one_by_one and engine.startswith("transformers"):
        count = min(count, NUM_ONE_BY_ONE_OF_SLOW)
    at_most = NUM_ONE_BY_ONE + 1 if job.one_by_one else count
    texts = unshared(count, variant) if job.shots is None else prompts(at_most, job.shots, variant)
    texts = texts[-1:] if is_warming else texts[:count]
    scores = job.label and engine.startswith(("handful", "transformers"))
    return Round(
        ids=[list(ids) for ids in tokenizer.encode_prompts(texts)],
        texts=texts,
        new_tokens=0 if scores else _num_label_tokens(tokenizer) if job.label else NUM_NEW,
        labels=LABELS,
        one_by_one=job.one_by_one,
        shared=bool(job.shots),
    )


def first_round(engine: str, tokenizer: Tokenizer) -> Round:
    """A little work before anything is timed: buffers are made, code is compiled."""
    return make_round(JOBS["W5"], engine, 2 if engine.startswith("transformers") else 16, 99, tokenizer)


def _num_label_tokens(tokenizer: Tokenizer) -> int:
    """Tokens of the longest label and the end sequence behind it."""
    return max(len(tokenizer.encode_continuation("Sentiment:", label + END)[1]) for label in LABELS)

"""Calibration of a closed task by its examples alone: what the prompt itself does to the labels is taken out.

A prompt makes some labels likely whatever the query says. That bias b is measured behind the task's own prompt with
inputs that mean nothing, and q_y proportional to p_y / b_y is what is answered. No further labels are needed, and the
prefix is computed once for these and all later prompts. With `calibration: auto` b is the geometric mean of two
measurements, each of which a task can also ask for by its name:

contextual   the mean of p over "N/A", "" and "[MASK]" (Zhao et al. 2021, arXiv 2102.09690)
domain       the mean of p over random words of the examples' inputs (Fei et al. 2023, arXiv 2305.19148)

A task without examples is read as it is: there it helped one task and hurt the next (docs/decisions/0011). Only
`contextual`, which takes nothing from the examples, is measured without them where it is asked for.
"""

import math
import random
import threading
import weakref
from collections.abc import Generator, Sequence

from handful.errors import PromptTooLongError
from handful.task.fit import Fitter, LabelBias
from handful.task.parse import probabilities_of
from handful.task.task import Task
from handful.types import Calibration

CONTENT_FREE = ("N/A", "", "[MASK]")
NUM_RANDOM_TEXTS = 20

# The least bias that is divided by: a label that the prompt rules out altogether isn't raised without limit.
_SMALLEST = 1e-30


def is_calibrated(task: Task) -> bool:
    """Whether the task's answers have their labels' bias taken out."""
    if not task.is_closed or task.calibration == "none":
        return False
    return bool(task.examples) or task.calibration == "contextual"


def random_texts(texts: Sequence[str], *, num_texts: int = NUM_RANDOM_TEXTS, seed: int = 0) -> list[str]:
    """Texts of the domain that mean nothing: words drawn at random from all words of `texts`, as long as they are.

    Each has the mean number of words of `texts`. The same texts and seed give the same words.
    """
    words = sorted(word for text in texts for word in text.split())
    if not words:
        return []
    length = max(1, round(len(words) / len(texts)))
    draw = random.Random(seed)  # noqa: S311  a reproducible draw, not a secret
    return [" ".join(draw.choice(words) for _ in range(length)) for _ in range(num_texts)]


def probes(texts: Sequence[str], *, seed: int = 0, calibration: Calibration = "auto") -> list[str]:
    """What the bias is measured with: the inputs that say nothing, then random words of `texts`; or one of the two."""
    nothing = CONTENT_FREE if calibration != "domain" else ()
    return [*nothing, *(random_texts(texts, seed=seed) if calibration != "contextual" else ())]


def label_bias(logprobs: Sequence[Sequence[float]], calibration: Calibration = "auto") -> LabelBias:
    """The bias, one number a label, summing to 1, from the labels' log-probabilities behind each of `probes`."""
    rows = [list(probabilities_of([str(column) for column in range(len(row))], row).values()) for row in logprobs]
    num_nothing = len(CONTENT_FREE) if calibration != "domain" else 0
    means = [_mean(part) for part in (rows[:num_nothing], rows[num_nothing:]) if part]
    weights = [math.exp(math.fsum(map(math.log, column)) / len(means)) for column in zip(*means, strict=True)]
    total = math.fsum(weights)
    return tuple(weight / total for weight in weights)


def without_bias(logprobs: Sequence[float], bias: LabelBias | None) -> Sequence[float]:
    """Label log-probabilities with the bias taken out, up to a constant; as they are without one."""
    if bias is None:
        return logprobs
    return [value - math.log(max(one, _SMALLEST)) for value, one in zip(logprobs, bias, strict=True)]


def probe_prompts(fitter: Fitter) -> Generator[str, int, list[str]]:
    """The prompts of a task's `probes`; yields texts to be counted. What is too long for the context is left out."""
    task = fitter.task
    prompts: list[str] = []
    texts = [value for example in task.examples for value in example.inputs.values()]
    for text in probes(texts, calibration=task.calibration):
        try:
            fit = yield from fitter.fit(dict.fromkeys(task.variables, text))
        except PromptTooLongError:
            continue
        prompts.append(fit.prompt)
    return prompts


class KnownBiases:
    """Biases that were measured, by backend and task, for callers that keep no `Fitter`. Thread-safe.

    A backend is forgotten with its last user; of a backend's tasks the `max_tasks` last ones are kept.
    """

    def __init__(self, max_tasks: int = 256) -> None:
        self._max_tasks = max_tasks
        self._lock = threading.RLock()  # a backend may go, and be forgotten, while the lock is held
        self._known: dict[int, dict[str, LabelBias]] = {}

    def __len__(self) -> int:
        """How many backends are remembered."""
        return len(self._known)

    def get(self, backend: object, task: Task) -> LabelBias | None:
        """The bias of `task` on `backend`, if it is known."""
        with self._lock:
            return self._known.get(id(backend), {}).get(task.fingerprint)

    def keep(self, backend: object, task: Task, bias: LabelBias) -> None:
        """Remember it."""
        with self._lock:
            if id(backend) not in self._known:
                # By identity, because a backend needn't be hashable; its number is free again once it is gone.
                weakref.finalize(backend, self._known.pop, id(backend), None).atexit = False
                self._known[id(backend)] = {}
            biases = self._known[id(backend)]
            biases[task.fingerprint] = bias
            while len(biases) > self._max_tasks:
                del biases[next(iter(biases))]


def _mean(rows: Sequence[Sequence[float]]) -> list[float]:
    return [max(math.fsum(column) / len(rows), _SMALLEST) for column in zip(*rows, strict=True)]

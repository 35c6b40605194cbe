"""The order of examples, chosen without labels: entropy probing (Lu et al. 2022, arXiv 2104.08786).

A bad order makes a model give nearly every query the same label. Each candidate order is asked about a probing set,
which the model itself writes behind the candidates' prompts, and judged by the labels it gives there:

GlobalE   the entropy of the labels' shares, -sum_v p_v log p_v with p_v the share of probes answered with v: low where
          one label gets them all
LocalE    the mean entropy of the probes' label distributions: low where every single answer is overconfident

Natural logarithms. What a good order is differs from model to model, so an order belongs to a task and a model.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal, get_args

import numpy as np

from handful.backend import Backend
from handful.errors import InvalidInputError, InvalidParameterError
from handful.learn.probability import Matrix, log_normalise, log_of
from handful.learn.reading import Reader
from handful.task.inputs import Input
from handful.task.problem import did_you_mean, join_words
from handful.task.render import prefix
from handful.task.task import Task
from handful.task.template import parse_template
from handful.types import GenerationParameters

Criterion = Literal["global", "local"]
CRITERIA: tuple[Criterion, ...] = get_args(Criterion)
_MAX_PROBE_TOKENS = 48


@dataclass(frozen=True, slots=True, kw_only=True)
class OrderingSettings:
    """How orders are judged.

    criterion   "global" (GlobalE) or "local" (LocalE); the other one decides between equals
    num_orders  candidates that are drawn; fewer where there aren't so many
    num_each    probes that the model writes behind each candidate
    """

    criterion: Criterion = "global"
    num_orders: int = 24
    num_each: int = 2
    seed: int = 0

    def __post_init__(self) -> None:
        if self.criterion not in CRITERIA:
            fix = did_you_mean(str(self.criterion), CRITERIA)
            problem = f"must be {' or '.join(CRITERIA)}, not {self.criterion!r}."
            raise InvalidParameterError("criterion", problem, fix=fix)
        for name, most in (("num_orders", 1_000), ("num_each", 64)):
            value = getattr(self, name)
            if isinstance(value, bool) or not isinstance(value, int) or not 1 <= value <= most:
                raise InvalidParameterError(name, f"must be a whole number from 1 to {most}, not {value!r}.")


@dataclass(frozen=True, slots=True)
class JudgedOrder:
    """An order of a task's examples, as indexes, with its entropies in nats."""

    order: tuple[int, ...]
    global_entropy: float
    local_entropy: float


def global_entropy(log_probabilities: Matrix) -> float:
    """GlobalE of label distributions `[num_probes, labels]`: the entropy of the shares of the labels they predict."""
    predicted = log_probabilities.argmax(axis=1)
    shares = np.bincount(predicted, minlength=log_probabilities.shape[1]) / len(predicted)
    return abs(float((shares * log_of(shares)).sum()))  # never -0.0


def local_entropy(log_probabilities: Matrix) -> float:
    """LocalE of label distributions `[num_probes, labels]`: the mean of their entropies."""
    rows = log_normalise(log_probabilities)
    return float(-(np.exp(rows) * rows).sum(axis=1).mean())


def rank_orders(
    task: Task, backend: Backend, settings: OrderingSettings | None = None, *, probes: Sequence[Input] = ()
) -> list[JudgedOrder]:
    """Candidate orders of the task's examples, best first. `task` must have labels and at least two examples.

    `probes` are unlabelled inputs; without them the model writes them, which needs a task with one variable. It costs
    a prefix a candidate, and a pass for each candidate and probe. Raises TaskError, InvalidInputError,
    InvalidParameterError.
    """
    asked = settings or OrderingSettings()
    if len(task.examples) < 2:
        raise InvalidInputError(f"The task `{task.name}` has no two examples to order.", fix="Give it more examples.")
    readers = {
        tuple(order): Reader(task.with_examples(task.examples[index] for index in order), backend)
        for order in some_orders(len(task.examples), asked.num_orders, asked.seed)
    }
    texts = list(probes) or written_probes([reader.task for reader in readers.values()], backend, asked)
    judged = [_judge(order, reader.log_probabilities(texts)) for order, reader in readers.items()]
    return sorted(judged, key=lambda one: _worth(one, asked.criterion), reverse=True)


def some_orders(num_examples: int, num_orders: int, seed: int = 0) -> list[list[int]]:
    """Different orders of all examples: a random one, its reverse, further random ones. Fewer where they run out."""
    draw = np.random.default_rng(seed)
    orders: dict[tuple[int, ...], None] = {}
    for _ in range(4 * num_orders):
        first = draw.permutation(num_examples).tolist()
        orders |= dict.fromkeys((tuple(first), tuple(first[::-1])))
    return [list(order) for order in orders][:num_orders]


def written_probes(tasks: Sequence[Task], backend: Backend, settings: OrderingSettings) -> list[Input]:
    """The inputs of further examples, as the model writes them behind each task's examples; different ones only.

    The labels that it would write are not used. Raises InvalidParameterError for tasks with several variables, and
    InvalidInputError where it writes nothing.
    """
    name = tasks[0].name
    variables = tasks[0].variables
    if len(variables) != 1:
        problem = f"must be given: the task `{name}` has the variables {join_words(variables)}."
        raise InvalidParameterError("probes", problem, fix="Give some inputs, unlabelled.")
    before, _ = parse_template(tasks[0].input.strip("\n")).around(variables[0])
    # A space before the text belongs to the word that the model writes, as in `render.query`.
    prompts = [prefix(task) + before.rstrip(" \t") for task in tasks]
    drawn = GenerationParameters(
        max_new_tokens=_MAX_PROBE_TOKENS, temperature=1.0, n=settings.num_each, seed=settings.seed, stop=("\n",)
    )
    texts = [one.text.strip() for found in backend.generate(prompts, drawn) for one in found.completions]
    kept = [text for text in dict.fromkeys(texts) if text]
    if not kept:
        problem = f"The model wrote no probes for the task `{name}`."
        raise InvalidInputError(problem, fix="Give `probes`: some inputs, unlabelled.")
    return list(kept)


def _judge(order: tuple[int, ...], log_probabilities: Matrix) -> JudgedOrder:
    return JudgedOrder(order, global_entropy(log_probabilities), local_entropy(log_probabilities))


def _worth(one: JudgedOrder, criterion: Criterion) -> tuple[float, float]:
    # Rounded, so that equals are equal on every machine; `sorted` then keeps the order in which they were drawn.
    found = round(one.global_entropy, 9), round(one.local_entropy, 9)
    return found if criterion == "global" else found[::-1]

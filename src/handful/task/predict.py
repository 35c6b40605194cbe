"""From a task and inputs to predictions: plan the prompts, ask the backend, read its answers.

The three verbs are written once, without I/O. `predict` drives them over a `Backend`, `apredict` and `stream` over an
`AsyncBackend`. Closed tasks are scored (no decoding); open ones are generated.
"""

from collections.abc import AsyncIterator, Callable, Generator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, TypeVar

from handful.backend import AsyncBackend, Backend
from handful.errors import InvalidInputError, PromptTooLongError
from handful.task.calibration import KnownBiases, is_calibrated, label_bias, probe_prompts, without_bias
from handful.task.fit import Fit, Fitter, LabelBias, warn_of_dropped
from handful.task.inputs import Input, values_of
from handful.task.parse import most_probable, probabilities_of, read_completion
from handful.task.render import continuations
from handful.task.task import Task
from handful.types import FinishReason, Generation, Score

RowError = InvalidInputError | PromptTooLongError

_known_biases = KnownBiases()


@dataclass(frozen=True, slots=True, kw_only=True)
class Prediction:
    """What a task answered to one input.

    prediction         a label (always the most probable one), or the text of the answer without whitespace around it
    abstained          tasks with `abstain_below`: whether the prediction is less probable than that; otherwise None
    probabilities      closed tasks: each label's probability, in the task's order, summing to 1; otherwise None
    completion         open tasks: the text as the model wrote it, up to the end sequence; otherwise None
    finish_reason      open tasks: why the text ended; "length" means it was cut at `max_new_tokens`
    num_cached_tokens  of the `num_prompt_tokens`, how many were read from the cache instead of being computed
    dropped_examples   how many of the task's examples were left out because the prompt didn't fit the context
    """

    input: Input
    prediction: str
    abstained: bool | None = None
    probabilities: Mapping[str, float] | None = None
    completion: str | None = None
    finish_reason: FinishReason | None = None
    num_prompt_tokens: int = 0
    num_cached_tokens: int = 0
    dropped_examples: int = 0

    def to_dict(self) -> dict[str, Any]:
        """A JSON object. It holds what depends on task, model and input alone, so `num_cached_tokens` isn't in it."""
        result: dict[str, Any] = {
            "input": self.input if isinstance(self.input, str) else dict(self.input),
            "prediction": self.prediction,
        }
        if self.abstained is not None:
            result["abstained"] = self.abstained
        if self.probabilities is not None:
            result["probabilities"] = dict(self.probabilities)
        else:
            result["completion"] = self.completion
            result["finish_reason"] = self.finish_reason
        result["num_prompt_tokens"] = self.num_prompt_tokens
        result["dropped_examples"] = self.dropped_examples
        return result


@dataclass(frozen=True, slots=True)
class PredictionEvent:
    """A piece of an answer being written; the last event of a stream has the whole `prediction`."""

    text: str
    prediction: Prediction | None = None


@dataclass(frozen=True, slots=True)
class Plan:
    """One input and the prompt that asks for its answer."""

    input: Input
    fit: Fit


def plan(fitter: Fitter, given: Input) -> Generator[str, int, Plan]:
    """Check one input and fit its prompt; yields texts to be counted. Raises InvalidInputError, PromptTooLongError."""
    values = values_of(fitter.task, given)
    return Plan(given, (yield from fitter.fit(values)))


def read_score(task: Task, planned: Plan, score: Score, bias: LabelBias | None = None) -> Prediction:
    """The prediction of a closed task, with the labels' bias taken out where one was measured."""
    probabilities = probabilities_of(task.labels, without_bias(score.logprobs, bias))
    best = most_probable(probabilities)
    return Prediction(
        input=planned.input,
        prediction=best,
        abstained=None if task.abstain_below is None else probabilities[best] < task.abstain_below,
        probabilities=probabilities,
        num_prompt_tokens=score.num_prompt_tokens,
        num_cached_tokens=score.num_cached_tokens,
        dropped_examples=planned.fit.num_dropped,
    )


def read_generation(planned: Plan, generation: Generation) -> Prediction:
    """The prediction of an open task."""
    completion = generation.completions[0]
    return Prediction(
        input=planned.input,
        prediction=read_completion(completion.text),
        completion=completion.text,
        finish_reason=completion.finish_reason,
        num_prompt_tokens=generation.num_prompt_tokens,
        num_cached_tokens=generation.num_cached_tokens,
        dropped_examples=planned.fit.num_dropped,
    )


def predict(task: Task, backend: Backend, inputs: Sequence[Input]) -> list[Prediction]:
    """One prediction for each input, in order; the prompts run as one batch.

    An input is a text (tasks with one variable) or a mapping with a value for each variable. Raises InvalidInputError
    and PromptTooLongError naming the first bad input, before anything is computed, and what the backend raises. Warns
    with `ExamplesDroppedWarning` when examples had to be dropped.
    """
    if isinstance(inputs, str | Mapping) or not isinstance(inputs, Sequence):
        raise InvalidInputError("The inputs must be a list of texts.", fix="For a single one, write [text].")
    fitter = Fitter(task, backend.info.context_length)
    plans: list[Plan] = []
    for index, given in enumerate(inputs):
        try:
            plans.append(count_now(plan(fitter, given), backend.count_tokens))
        except (InvalidInputError, PromptTooLongError) as error:
            raise type(error)(f"Input {index + 1} of {len(inputs)}: {error.message}", fix=error.fix) from None
    warn_of_dropped(task, (planned.fit.num_dropped for planned in plans))
    return _answer(fitter, backend, plans)


def predict_each(fitter: Fitter, backend: Backend, inputs: Sequence[Input]) -> list[Prediction | RowError]:
    """Like `predict`, but a bad input becomes an error in its place and the others are answered all the same.

    It doesn't warn: `dropped_examples` of each prediction says what was dropped.
    """
    outcomes: list[Prediction | RowError | None] = [None] * len(inputs)
    plans: dict[int, Plan] = {}
    for index, given in enumerate(inputs):
        try:
            plans[index] = count_now(plan(fitter, given), backend.count_tokens)
        except (InvalidInputError, PromptTooLongError) as error:
            outcomes[index] = error
    for index, outcome in zip(plans, _answer_each(fitter, backend, list(plans.values())), strict=True):
        outcomes[index] = outcome
    return [outcome for outcome in outcomes if outcome is not None]


def _answer_each(fitter: Fitter, backend: Backend, plans: list[Plan]) -> list[Prediction | RowError]:
    """The whole batch at once; where the backend refuses it for one of its prompts, one at a time."""
    try:
        return list(_answer(fitter, backend, plans))
    except (InvalidInputError, PromptTooLongError) as error:
        if len(plans) == 1:
            return [error]
        return [outcome for planned in plans for outcome in _answer_each(fitter, backend, [planned])]


def _answer(fitter: Fitter, backend: Backend, plans: Sequence[Plan]) -> list[Prediction]:
    task = fitter.task
    prompts = [planned.fit.prompt for planned in plans]
    if not prompts:
        return []
    if task.is_closed:
        bias = measure(fitter, backend)
        scores = backend.score(prompts, continuations(task))
        return [read_score(task, planned, score, bias) for planned, score in zip(plans, scores, strict=True)]
    generations = backend.generate(prompts, task.generation)
    return [read_generation(planned, generation) for planned, generation in zip(plans, generations, strict=True)]


def measure(fitter: Fitter, backend: Backend) -> LabelBias | None:
    """The bias of the task's prompt, measured once for a task and a backend; None for a task that isn't calibrated."""
    if fitter.label_bias is None and is_calibrated(fitter.task):
        fitter.label_bias = _known_biases.get(backend, fitter.task)
        prompts = [] if fitter.label_bias else count_now(probe_prompts(fitter), backend.count_tokens)
        if prompts:
            scores = backend.score(prompts, continuations(fitter.task))
            fitter.label_bias = label_bias([score.logprobs for score in scores], fitter.task.calibration)
            _known_biases.keep(backend, fitter.task, fitter.label_bias)
    return fitter.label_bias


async def ameasure(fitter: Fitter, backend: AsyncBackend) -> LabelBias | None:
    """The same from an event loop. One prompt after the other, so that it takes one place in the queue."""
    async with fitter.measuring:
        if fitter.label_bias is None and is_calibrated(fitter.task):
            fitter.label_bias = _known_biases.get(backend, fitter.task)
            prompts = [] if fitter.label_bias else await _count_soon(probe_prompts(fitter), backend)
            if prompts:
                scored = continuations(fitter.task)
                rows = [(await backend.score(prompt, scored)).logprobs for prompt in prompts]
                fitter.label_bias = label_bias(rows, fitter.task.calibration)
                _known_biases.keep(backend, fitter.task, fitter.label_bias)
    return fitter.label_bias


Result = TypeVar("Result")


def count_now(asking: Generator[str, int, Result], count: Callable[[str], int]) -> Result:
    """Run a generator that asks for token counts to its end, counting with `count`."""
    try:
        text = next(asking)
        while True:
            text = asking.send(count(text))
    except StopIteration as finished:
        result: Result = finished.value
        return result


async def apredict(task: Task, backend: AsyncBackend, given: Input, *, fitter: Fitter | None = None) -> Prediction:
    """One prediction from an event loop. Concurrent calls share batches and the task's prefix.

    A `fitter` kept for the task and model saves counting the prefix at each call. Raises as `predict` does.
    """
    kept = fitter or Fitter(task, backend.info.context_length)
    planned = await _count_soon(plan(kept, given), backend)
    warn_of_dropped(task, [planned.fit.num_dropped])
    if task.is_closed:
        bias = kept.label_bias or await ameasure(kept, backend)
        return read_score(task, planned, await backend.score(planned.fit.prompt, continuations(task)), bias)
    return read_generation(planned, await backend.generate(planned.fit.prompt, task.generation))


async def stream(
    task: Task, backend: AsyncBackend, given: Input, *, fitter: Fitter | None = None
) -> AsyncIterator[PredictionEvent]:
    """The answer of an open task while it is written; the joined `text` of all events is its `completion`.

    Closing the iterator aborts the request. A closed task has nothing to stream: its answer comes as one event.
    """
    if task.is_closed:
        prediction = await apredict(task, backend, given, fitter=fitter)
        yield PredictionEvent(prediction.prediction, prediction)
        return
    kept = fitter or Fitter(task, backend.info.context_length)
    planned = await _count_soon(plan(kept, given), backend)
    warn_of_dropped(task, [planned.fit.num_dropped])
    events = backend.stream(planned.fit.prompt, task.generation)
    try:
        async for event in events:
            ended = event.generation
            yield PredictionEvent(event.text, None if ended is None else read_generation(planned, ended))
    finally:
        close = getattr(events, "aclose", None)  # an async generator that is merely dropped is closed some time later
        if close is not None:
            await close()


async def _count_soon(asking: Generator[str, int, Result], backend: AsyncBackend) -> Result:
    try:
        text = next(asking)
        while True:
            text = asking.send(await backend.count_tokens(text))
    except StopIteration as finished:
        result: Result = finished.value
        return result

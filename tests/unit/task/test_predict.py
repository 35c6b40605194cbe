"""From inputs to predictions over a backend, blocking and awaiting."""

import asyncio
import json
import math
from collections.abc import Callable

import pytest

from handful.backend import AsyncBackend, Backend
from handful.errors import EngineError, InvalidInputError, PromptTooLongError
from handful.task.fit import ExamplesDroppedWarning, Fitter
from handful.task.parse import probabilities_of
from handful.task.predict import Prediction, apredict, predict, predict_each, stream
from handful.task.render import prefix, prompt
from handful.task.task import Example, Task
from handful.types import GenerationParameters
from tests.fakes import AsyncFakeBackend, FakeBackend

CLOSED = Task(name="closed", labels=("zebra", "apple", "mango"))
OPEN = Task(name="open", examples=(Example({"input": "a"}, "A"),))
PAIR = Task(name="pair", input="{left} and {right}")


def scoring(logprobs: dict[str, float]) -> Callable[[str, str], float]:
    return lambda _, continuation: logprobs[continuation.strip()]


def test_the_fakes_are_backends() -> None:
    backend: Backend = FakeBackend()
    asynchronous: AsyncBackend = AsyncFakeBackend()
    assert backend.info == asynchronous.info


def test_probabilities_are_those_of_the_labels_among_themselves() -> None:
    backend = FakeBackend(logprob=scoring({"zebra": math.log(0.1), "apple": math.log(0.3), "mango": math.log(0.1)}))
    [prediction] = predict(CLOSED, backend, ["q"])
    assert prediction.prediction == "apple"
    assert prediction.probabilities == pytest.approx({"zebra": 0.2, "apple": 0.6, "mango": 0.2})
    assert list(prediction.probabilities or ()) == ["zebra", "apple", "mango"]


def test_of_equal_labels_the_tasks_first_wins() -> None:
    backend = FakeBackend(logprob=lambda *_: -2.0)
    assert predict(CLOSED, backend, ["q"])[0].prediction == "zebra"


def test_very_small_probabilities_do_not_vanish() -> None:
    assert probabilities_of(("a", "b"), (-2000.0, -2000.0)) == {"a": 0.5, "b": 0.5}


@pytest.mark.parametrize("bad", [math.nan, -math.inf])
def test_log_probabilities_that_mean_nothing_are_a_fault(bad: float) -> None:
    with pytest.raises(EngineError):
        probabilities_of(("a", "b"), (bad, bad))


def test_a_closed_task_scores_all_inputs_in_one_call() -> None:
    backend = FakeBackend()
    predict(CLOSED, backend, ["a", "b", "c"])
    assert backend.calls == [("score", 3)]


def test_an_open_answer_is_stripped_and_the_completion_is_not() -> None:
    [prediction] = predict(OPEN, FakeBackend(), ["hello"])
    assert (prediction.prediction, prediction.completion) == ("HELLO", " HELLO\n")
    assert (prediction.finish_reason, prediction.probabilities) == ("stop_sequence", None)


def test_an_answer_that_ran_out_of_tokens_says_so() -> None:
    task = OPEN.replace(parameters=GenerationParameters(max_new_tokens=3))
    [prediction] = predict(task, FakeBackend(), ["hello"])
    assert (prediction.prediction, prediction.finish_reason) == ("HE", "length")


def test_predictions_come_in_the_order_of_the_inputs() -> None:
    assert [p.prediction for p in OPEN.predict(FakeBackend(), ["c", "a", "b"])] == ["C", "A", "B"]


def test_no_inputs_give_no_predictions_and_no_call() -> None:
    backend = FakeBackend()
    assert predict(OPEN, backend, []) == []
    assert backend.calls == []


def test_an_input_of_several_variables_is_a_mapping() -> None:
    backend = FakeBackend()
    [prediction] = predict(PAIR, backend, [{"left": "x", "right": "y"}])
    assert backend.prompts == [prompt(PAIR, {"left": "x", "right": "y"})]
    assert prediction.to_dict()["input"] == {"left": "x", "right": "y"}


@pytest.mark.parametrize("given", ["", "  \n\t", "\ud800", 3, None, b"x", {"inptu": "x"}, {}])
def test_an_input_that_is_no_text_is_refused(given: object) -> None:
    with pytest.raises(InvalidInputError, match="Input 2 of 2"):
        predict(OPEN, FakeBackend(), ["fine", given])  # type: ignore[list-item]


def test_an_unknown_variable_is_refused_with_the_nearest() -> None:
    with pytest.raises(InvalidInputError, match=r"no variable `lefd`\. Did you mean `left`"):
        predict(PAIR, FakeBackend(), [{"lefd": "x", "right": "y"}])


def test_a_missing_variable_is_refused_by_name() -> None:
    with pytest.raises(InvalidInputError, match="no value for `right`"):
        predict(PAIR, FakeBackend(), [{"left": "x"}])


def test_one_text_for_two_variables_is_refused() -> None:
    with pytest.raises(InvalidInputError, match="`left` and `right`"):
        predict(PAIR, FakeBackend(), ["x"])


def test_a_text_instead_of_a_list_is_refused() -> None:
    with pytest.raises(InvalidInputError, match=r"write \[text\]"):
        predict(OPEN, FakeBackend(), "hello")


def test_nothing_is_computed_when_an_input_is_bad() -> None:
    backend = FakeBackend()
    with pytest.raises(InvalidInputError):
        predict(OPEN, backend, ["fine", ""])
    assert backend.calls == []


def test_dropped_examples_are_counted_and_warned_of() -> None:
    task = OPEN.replace(parameters=GenerationParameters(max_new_tokens=5))
    backend = FakeBackend(context_length=len(prompt(task, {"input": "q"})) + 4)
    with pytest.warns(ExamplesDroppedWarning, match="1 predictions were made without up to 1 of the 1 examples"):
        [prediction] = predict(task, backend, ["q"])
    assert prediction.dropped_examples == 1


def test_each_bad_input_becomes_an_error_in_its_place() -> None:
    backend = FakeBackend(context_length=300)
    outcomes = predict_each(Fitter(OPEN, 300), backend, ["a", "", "x" * 1000, "b"])
    assert [type(outcome) for outcome in outcomes] == [Prediction, InvalidInputError, PromptTooLongError, Prediction]
    assert backend.calls == [("generate", 2)]


def test_an_input_that_only_the_backend_refuses_does_not_lose_the_others() -> None:
    backend = FakeBackend(context_length=200)
    outcomes = predict_each(Fitter(OPEN, 10_000), backend, ["a", "x" * 1000, "b"])
    assert [type(outcome) for outcome in outcomes] == [Prediction, PromptTooLongError, Prediction]


def test_a_fault_of_the_engine_is_no_bad_input() -> None:
    def fail(prompt: str) -> str:
        raise EngineError("broken")

    with pytest.raises(EngineError):
        predict_each(Fitter(OPEN, 4096), FakeBackend(answer=fail), ["a"])


@pytest.mark.parametrize("task", [OPEN, CLOSED], ids=["open", "closed"])
def test_awaiting_gives_the_same_as_blocking(task: Task) -> None:
    fake = FakeBackend()
    assert [asyncio.run(apredict(task, AsyncFakeBackend(fake), "q"))] == predict(task, fake, ["q"])


def test_awaiting_counts_the_prefix_once_for_a_kept_fitter() -> None:
    task = OPEN.replace(description="d" * 40, parameters=GenerationParameters(max_new_tokens=20))
    fake = FakeBackend(context_length=100, bytes_per_token=4)
    fitter = Fitter(task, 100)

    async def twice() -> None:
        for _ in range(2):
            await apredict(task, AsyncFakeBackend(fake), "q", fitter=fitter)

    asyncio.run(twice())
    assert fake.counted == [prefix(task)]


def test_a_streams_pieces_make_the_completion_and_the_last_has_the_prediction() -> None:
    async def collect() -> list[object]:
        return [event async for event in stream(OPEN, AsyncFakeBackend(), "hello")]

    events = asyncio.run(collect())
    [expected] = predict(OPEN, FakeBackend(), ["hello"])
    assert "".join(event.text for event in events) == expected.completion  # type: ignore[attr-defined]
    assert [event.prediction for event in events if event.prediction] == [expected]  # type: ignore[attr-defined]


def test_a_closed_task_streams_one_event() -> None:
    async def collect() -> list[str]:
        return [event.text async for event in stream(CLOSED, AsyncFakeBackend(), "q")]

    assert asyncio.run(collect()) == [predict(CLOSED, FakeBackend(), ["q"])[0].prediction]


def test_closing_a_stream_closes_the_backends() -> None:
    backend = AsyncFakeBackend()

    async def leave_early() -> None:
        events = stream(OPEN, backend, "hello")
        await anext(events)
        await events.aclose()  # type: ignore[attr-defined]
        assert backend.num_closed_streams == 1

    asyncio.run(leave_early())


@pytest.mark.parametrize(
    ("task", "keys"),
    [
        (CLOSED, ["input", "prediction", "probabilities", "num_prompt_tokens", "dropped_examples"]),
        (OPEN, ["input", "prediction", "completion", "finish_reason", "num_prompt_tokens", "dropped_examples"]),
    ],
    ids=["closed", "open"],
)
def test_a_prediction_is_a_json_object(task: Task, keys: list[str]) -> None:
    [prediction] = predict(task, FakeBackend(), ["q"])
    assert list(json.loads(json.dumps(prediction.to_dict()))) == keys

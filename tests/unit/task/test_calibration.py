import asyncio
import gc
import math

import pytest

from handful.errors import TaskError
from handful.task.calibration import CONTENT_FREE, KnownBiases, label_bias, probe_prompts, random_texts, without_bias
from handful.task.fit import Fitter
from handful.task.parse import probabilities_of
from handful.task.predict import ameasure, apredict, count_now, measure, predict, predict_each
from handful.task.render import prompt
from handful.task.task import Example, Task
from tests.fakes import AsyncFakeBackend, FakeBackend

TASK = Task(
    name="films",
    input="Review: {text}",
    labels=("bad", "good"),
    examples=(Example({"text": "long and dull"}, "bad"), Example({"text": "a joy"}, "good")),
)
PLAIN = TASK.replace(calibration="none")
NUM_PROBES = 23


def leaning(prompt: str, continuation: str) -> float:
    """A model that finds "bad" 9 times as likely as "good", and a joy 4 times as likely good as bad."""
    is_bad = continuation.strip() == "bad"
    asked = prompt.rpartition("Review:")[2]
    return math.log(9.0 if is_bad else 1.0) - math.log(4.0) * (is_bad and "delight" in asked)


def test_the_bias_of_a_case_worked_by_hand() -> None:
    # contextual (three rows): mean p of the first label (0.9 + 0.8 + 0.7) / 3 = 0.8; domain (one row): 0.5
    rows = [[math.log(p), math.log(1 - p)] for p in (0.9, 0.8, 0.7, 0.5)]
    first, second = math.sqrt(0.8 * 0.5), math.sqrt(0.2 * 0.5)
    assert label_bias(rows) == pytest.approx((first / (first + second), second / (first + second)))


def test_the_bias_of_either_half_of_a_case_worked_by_hand() -> None:
    rows = [[math.log(p), math.log(1 - p)] for p in (0.9, 0.8, 0.7)]
    assert label_bias(rows, "contextual") == pytest.approx((0.8, 0.2))
    assert label_bias(rows, "domain") == pytest.approx((0.8, 0.2))


def test_contextual_calibration_of_a_case_worked_by_hand() -> None:
    # p = (0.6, 0.4) behind a prompt whose content-free answer is (0.75, 0.25): q is proportional to (0.8, 1.6)
    calibrated = without_bias([math.log(0.6), math.log(0.4)], (0.75, 0.25))
    assert probabilities_of(("a", "b"), calibrated) == pytest.approx({"a": 1 / 3, "b": 2 / 3})


def test_a_label_that_the_prompt_rules_out_stays_a_number() -> None:
    bias = label_bias([[0.0, -4000.0]] * 4)
    assert all(math.isfinite(value) for value in without_bias([0.0, -4000.0], bias))


def test_what_the_prompt_prefers_is_taken_out() -> None:
    backend = FakeBackend(logprob=leaning)
    asked = ["such delight", "two hours"]
    assert [one.prediction for one in predict(PLAIN, backend, asked)] == ["bad", "bad"]
    found = predict(TASK, backend, asked)
    assert found[0].prediction == "good"
    assert found[0].probabilities == pytest.approx({"bad": 0.2, "good": 0.8})
    assert found[1].probabilities == pytest.approx({"bad": 0.5, "good": 0.5})


def test_every_way_to_ask_gives_the_same() -> None:
    backend = FakeBackend()
    asked = ["a joy", "dull", "a dull joy"]
    wanted = predict(TASK, backend, asked)
    fitter = Fitter(TASK, backend.info.context_length)
    assert predict_each(fitter, FakeBackend(), asked) == wanted
    assert [asyncio.run(apredict(TASK, AsyncFakeBackend(), text)) for text in asked] == wanted


def test_without_calibration_the_probabilities_are_the_models() -> None:
    [found] = predict(PLAIN, FakeBackend(logprob=leaning), ["two hours"])
    assert found.probabilities == pytest.approx({"bad": 0.9, "good": 0.1})


def test_the_bias_is_measured_once_for_a_task_and_a_model() -> None:
    backend = FakeBackend()
    for _ in range(3):
        predict(TASK, backend, ["a", "b"])
    assert backend.calls == [("score", NUM_PROBES), ("score", 2), ("score", 2), ("score", 2)]
    predict(TASK.with_examples(TASK.examples[:1]), backend, ["a"])
    assert backend.calls[4:] == [("score", NUM_PROBES), ("score", 1)]


def test_callers_that_await_together_measure_it_once() -> None:
    backend = AsyncFakeBackend()
    fitter = Fitter(TASK, backend.info.context_length)

    async def ask_all() -> None:
        await asyncio.gather(*[apredict(TASK, backend, f"text {index}", fitter=fitter) for index in range(5)])

    asyncio.run(ask_all())
    assert len(backend.backend.prompts) == NUM_PROBES + 5


def test_one_that_gives_up_while_it_measures_leaves_it_to_the_next() -> None:
    class Slow(AsyncFakeBackend):
        async def score(self, prompt, continuations):  # type: ignore[no-untyped-def]
            await asyncio.sleep(0)
            return await super().score(prompt, continuations)

    backend = Slow()
    fitter = Fitter(TASK, backend.info.context_length)

    async def give_up_and_ask() -> None:
        first = asyncio.ensure_future(apredict(TASK, backend, "first", fitter=fitter))
        await asyncio.sleep(0)
        second = asyncio.ensure_future(apredict(TASK, backend, "second", fitter=fitter))
        await asyncio.sleep(0)
        first.cancel()
        assert (await second).probabilities == predict(TASK, FakeBackend(), ["second"])[0].probabilities

    asyncio.run(give_up_and_ask())


@pytest.mark.parametrize(("calibration", "num_probes"), [("auto", 23), ("contextual", 3), ("domain", 20)])
def test_each_calibration_asks_its_own_probes(calibration: str, num_probes: int) -> None:
    task = TASK.replace(calibration=calibration)
    made = count_now(probe_prompts(Fitter(task, 10_000)), len)
    assert len(made) == num_probes
    assert (prompt(task, {"text": "N/A"}) in made) == (calibration != "domain")


@pytest.mark.parametrize("calibration", ["contextual", "domain"])
def test_either_half_takes_out_what_the_prompt_prefers(calibration: str) -> None:
    asked = TASK.replace(calibration=calibration)
    (found,) = predict(asked, FakeBackend(logprob=leaning), ["such delight"])
    assert found.probabilities == pytest.approx({"bad": 0.2, "good": 0.8})


def test_contextual_calibration_needs_no_examples() -> None:
    asked = TASK.replace(calibration="contextual", examples=())
    (found,) = predict(asked, FakeBackend(logprob=leaning), ["such delight"])
    assert found.probabilities == pytest.approx({"bad": 0.2, "good": 0.8})


@pytest.mark.parametrize(
    "task",
    [
        PLAIN,
        TASK.with_examples(()),
        TASK.replace(calibration="domain", examples=()),
        Task(name="open", examples=(Example({"input": "a"}, "b"),)),
    ],
)
def test_other_tasks_are_not_measured(task: Task) -> None:
    backend = FakeBackend()
    fitter = Fitter(task, backend.info.context_length)
    assert measure(fitter, backend) is None
    assert asyncio.run(ameasure(fitter, AsyncFakeBackend(backend))) is None
    assert backend.calls == []


def test_a_context_that_holds_no_probe_measures_nothing() -> None:
    fitter = Fitter(TASK, 10)
    assert count_now(probe_prompts(fitter), len) == []
    assert measure(fitter, FakeBackend(context_length=10)) is None


def test_the_probes_stand_behind_the_tasks_own_prefix() -> None:
    made = count_now(probe_prompts(Fitter(TASK, 10_000)), len)
    assert made[:3] == [prompt(TASK, {"text": text}) for text in CONTENT_FREE]
    assert len(made) == NUM_PROBES


def test_a_backend_that_is_gone_is_forgotten_and_old_tasks_too() -> None:
    known, backend, other = KnownBiases(max_tasks=2), FakeBackend(), FakeBackend()
    tasks = [TASK.replace(version=str(index)) for index in range(3)]
    for task in tasks:
        known.keep(backend, task, (0.5, 0.5))
    assert [known.get(backend, task) for task in tasks] == [None, (0.5, 0.5), (0.5, 0.5)]
    assert known.get(other, tasks[2]) is None
    del backend
    gc.collect()
    assert len(known) == 0


@pytest.mark.parametrize(
    ("changes", "named"),
    [
        ({"calibration": "nine"}, "Did you mean `none`"),
        ({"calibration": "batch"}, "Write `auto`, `none`, `contextual` and `domain`"),
        ({"calibration": "none", "labels": (), "examples": ()}, "has no effect"),
    ],
)
def test_a_calibration_that_is_none_is_refused_by_name(changes: dict[str, object], named: str) -> None:
    with pytest.raises(TaskError, match=rf"`calibration`.*{named}"):
        TASK.replace(**changes)


def test_a_task_file_keeps_it_and_leaves_the_default_out() -> None:
    assert Task.from_dict(PLAIN.to_dict()) == PLAIN
    assert PLAIN.to_dict()["calibration"] == "none"
    assert "calibration" not in TASK.to_dict()


def test_random_texts_are_made_of_the_texts_words_and_as_long() -> None:
    made = random_texts(["a b c", "d e f g h"], num_texts=7, seed=3)
    assert len(made) == 7
    assert all(len(text.split()) == 4 and set(text.split()) <= set("abcdefgh") for text in made)


def test_random_texts_are_the_same_for_the_same_seed_only() -> None:
    texts = ["one two three four five six"]
    assert random_texts(texts, seed=1) == random_texts(texts, seed=1)
    assert random_texts(texts, seed=1) != random_texts(texts, seed=2)


def test_no_texts_give_no_random_texts() -> None:
    assert random_texts([]) == []

import asyncio
import math
from pathlib import Path

import pytest

from handful.errors import TaskError
from handful.task.predict import apredict, predict
from handful.task.task import Task
from tests.fakes import AsyncFakeBackend, FakeBackend

TASK = Task(name="films", input="Review: {text}", labels=("bad", "good"), abstain_below=0.8)


def as_sure_as_it_says(prompt: str, continuation: str) -> float:
    share = float(prompt.rpartition("Review: ")[2].split()[0])
    return math.log(share if continuation.strip() == "good" else 1 - share)


def test_a_prediction_below_the_threshold_abstains_and_says_what_it_would_have_been() -> None:
    found = predict(TASK, FakeBackend(logprob=as_sure_as_it_says), ["0.7", "0.9", "0.1"])
    assert [(one.prediction, one.abstained) for one in found] == [("good", True), ("good", False), ("bad", False)]
    assert [one.to_dict()["abstained"] for one in found] == [True, False, False]


def test_from_an_event_loop_too() -> None:
    backend = AsyncFakeBackend(FakeBackend(logprob=as_sure_as_it_says))
    assert asyncio.run(apredict(TASK, backend, "0.6")).abstained is True


def test_a_task_without_a_threshold_says_nothing_of_it() -> None:
    (found,) = predict(TASK.replace(abstain_below=None), FakeBackend(logprob=as_sure_as_it_says), ["0.7"])
    assert found.abstained is None
    assert "abstained" not in found.to_dict()


def test_a_task_file_keeps_it(tmp_path: Path) -> None:
    path = tmp_path / "films.yaml"
    TASK.save(path)
    assert "abstain_below: 0.8" in path.read_text()
    assert Task.load(path) == TASK
    assert Task.from_dict(TASK.to_dict()) == TASK
    assert Task.from_dict({"name": "films", "labels": ["a", "b"], "abstain_below": "0.5"}).abstain_below == 0.5


@pytest.mark.parametrize("value", [0, -1, 1.5, True, "often", math.nan, [0.8]])
def test_what_is_no_probability_is_refused_with_a_way_out(value: object) -> None:
    with pytest.raises(TaskError, match=r"`abstain_below`: must be a probability.*such as 0\.8"):
        Task.from_dict({"name": "films", "labels": ["a", "b"], "abstain_below": value})


def test_free_text_has_no_probability_to_compare() -> None:
    with pytest.raises(TaskError, match="`abstain_below`: has no effect"):
        TASK.replace(labels=())

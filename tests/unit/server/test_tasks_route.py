"""POST /tasks/{name} and the lists of tasks."""

import json

import pytest

from handful.server.limits import Limits
from handful.task.render import prefix
from tests.unit.server.serving import SENTIMENT, UPPER, FakeModel, ask, client_of, run, state_with, until


def body(inputs: object) -> bytes:
    return json.dumps({"inputs": inputs}).encode()


def test_a_closed_task_answers_with_probabilities() -> None:
    (prediction,) = ask(FakeModel(), "/tasks/sentiment", body("Lovely.")).json()
    assert (prediction["input"], prediction["prediction"]) == ("Lovely.", "positive")
    assert sum(prediction["probabilities"].values()) == pytest.approx(1)


def test_an_open_task_answers_with_its_completion() -> None:
    (prediction,) = ask(FakeModel(), "/tasks/upper", body({"input": "b"})).json()
    assert prediction["completion"].startswith(" w1 w2")
    assert prediction["finish_reason"] == "length"


def test_several_inputs_are_answered_in_their_order() -> None:
    predictions = ask(FakeModel(), "/tasks/sentiment", body(["a", {"text": "b"}])).json()
    assert [prediction["input"] for prediction in predictions] == ["a", {"text": "b"}]


def test_the_headers_say_what_it_took() -> None:
    headers = ask(FakeModel(), "/tasks/sentiment", body(["ab", {"text": "c"}])).headers
    assert (headers["x-compute-characters"], headers["x-compute-type"]) == ("3", "cpu")
    assert float(headers["x-compute-time"]) >= 0


@pytest.mark.parametrize(
    ("content", "status", "says"),
    [
        (body(""), 400, "empty"),
        (body([]), 400, "empty"),
        (body({"txt": "a"}), 400, "txt"),
        (body(5), 400, "inputs"),
        (b'{"text": "a"}', 400, "`text`: unknown key"),
        (body("x" * 101), 400, "101 characters"),
        (b"\xff", 400, "UTF-8"),
    ],
)
def test_a_bad_input_is_refused(content: bytes, status: int, says: str) -> None:
    response = ask(FakeModel(), "/tasks/sentiment", content, limits=Limits(max_input_characters=100))
    assert response.status_code == status
    assert says in " ".join(response.json()["error"])


def test_a_task_that_does_not_exist_is_404_and_names_those_there_are() -> None:
    response = ask(FakeModel(), "/tasks/nope", body("a"))
    assert response.status_code == 404
    assert "sentiment, upper" in response.json()["error"][0]


def test_tasks_are_listed_and_shown() -> None:
    async def check() -> None:
        async with client_of(state_with(FakeModel(), SENTIMENT, UPPER)) as client:
            listed = (await client.get("/tasks")).json()
            assert [task["name"] for task in listed] == ["sentiment", "upper"]
            assert listed[0]["labels"] == ["positive", "negative"]
            assert (await client.get("/tasks/upper")).json() == UPPER.to_dict() | {"model": "fake"}
            assert (await client.get("/tasks/nope")).status_code == 404

    run(check())


def test_a_tasks_prefix_is_pinned_when_its_model_has_loaded() -> None:
    async def check() -> None:
        model = FakeModel()
        async with client_of(state_with(model, SENTIMENT)):
            await until(lambda: model.pinned)
            assert model.pinned == [prefix(SENTIMENT)]

    run(check())


def test_a_calibrated_task_is_answered_as_everywhere_else() -> None:
    # the fake finds every text alike, so all that it says of the labels is bias
    task = SENTIMENT.replace(calibration="auto")

    async def check() -> None:
        async with client_of(state_with(FakeModel(), task)) as client:
            (found,) = (await client.post("/tasks/sentiment", json={"inputs": "Lovely."})).json()
            assert found["probabilities"] == pytest.approx({"positive": 0.5, "negative": 0.5})

    run(check())

"""A saved classifier is served as a task: the same request, the same answer, the same care as for a prompt task."""

import asyncio
import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, cast

import httpx
import numpy as np
import pytest

from handful import Client, FewShotClassifier
from handful.backend import Backend
from handful.config import Settings
from handful.errors import InvalidInputError, InvalidParameterError, NotFoundError
from handful.learn.encoded import NamedEncoder
from handful.learn.predictor import Predictor
from handful.local import LocalModel, load
from handful.server.blocking_backend import BlockingBackend
from handful.server.classifier import ServedClassifier, load_classifier
from handful.server.sources import registries, task_of
from handful.server.task_registry import ServedTask
from handful.server.usage_backend import metered
from handful.server.usage_tally import Tally, current_tally
from handful.task.task import Task
from handful.types import GenerationParameters
from tests.unit.client.live import live
from tests.unit.model.tiny_models import checkpoint
from tests.unit.server.serving import FakeModel, run, until

TEXTS = [f"the {word} film {i}" for i in range(8) for word in ("good", "bad")]
QUERIES = ["a good film", "the review is negative", "the end"]


@pytest.fixture(scope="module")
def model() -> Iterator[LocalModel]:
    made = load(str(checkpoint("llama")), configuration=Settings(precision="float32", kv_memory_mb=16))
    yield made
    made.close()


@pytest.fixture(scope="module")
def fitted(model: LocalModel) -> FewShotClassifier:
    return FewShotClassifier(model, label_words={1: "positive", 0: "negative"}).fit(TEXTS, [1, 0] * 8)


@pytest.fixture
def folder(fitted: FewShotClassifier, tmp_path: Path) -> Path:
    fitted.save(tmp_path / "mood")
    return tmp_path / "mood"


def no_encoder(name: str) -> NamedEncoder:
    raise AssertionError("no encoder is needed")


def served(folder: Path, name: str = "mood") -> ServedTask:
    classifier = load_classifier(folder, name, no_encoder)
    return ServedTask(classifier.task, "tiny", classifier=classifier)


def test_it_answers_what_the_classifier_answers(model: LocalModel, fitted: FewShotClassifier, folder: Path) -> None:
    wanted = fitted.predict_proba(QUERIES)
    with live({"tiny": model}, served(folder)) as url, Client(url) as client:
        answers = client.predict("mood", QUERIES)
        mapped: list[Mapping[str, str]] = [{"text": QUERIES[0]}]
        (one,) = client.predict("mood", mapped)
    assert [list(answer.probabilities or {}) for answer in answers] == [["0", "1"]] * 3
    found = np.array([list((answer.probabilities or {}).values()) for answer in answers])
    assert np.abs(found - wanted).max() < 1e-3
    assert [answer.prediction for answer in answers] == [str(label) for label in fitted.predict(QUERIES)]
    assert (one.input, one.prediction) == ({"text": QUERIES[0]}, answers[0].prediction)


def test_it_is_described_streamed_and_refused_as_a_task_is(
    model: LocalModel, fitted: FewShotClassifier, folder: Path
) -> None:
    with live({"tiny": model}, served(folder)) as url:
        (told,) = httpx.get(f"{url}/tasks").json()
        streamed = httpx.post(f"{url}/tasks/mood", json={"inputs": QUERIES[0], "stream": True}).text
        bad = [httpx.post(f"{url}/tasks/mood", json={"inputs": each}) for each in ({"review": "a"}, "a " * 9000)]
    assert (told["name"], told["classifier"]["classes"]) == ("mood", ["0", "1"])
    assert told["classifier"]["recipe"] == fitted.choice_.recipe
    (event,) = [json.loads(line.removeprefix("data: ")) for line in streamed.split("\n\n") if line]
    assert event["prediction"]["prediction"] == event["text"] == str(fitted.predict(QUERIES[:1])[0])
    assert [response.status_code for response in bad] == [400, 422]


def test_a_folder_is_served_under_its_name_or_another_and_brings_its_model(model: LocalModel, folder: Path) -> None:
    for spec, name in ((str(folder), "mood"), (f"better={folder}", "better")):
        found = task_of(spec, no_encoder)
        assert isinstance(found, ServedClassifier)
        assert (found.task.name, found.task.model) == (name, model.info.name)
        models, tasks = registries(["default"], [found], lambda *_: FakeModel())
        (one,) = tasks.everything()
        assert one.classifier is found
        assert models.names == ("default", one.model)


def test_a_task_file_may_be_renamed_too(tmp_path: Path) -> None:
    Task(name="a").save(tmp_path / "a.yaml")
    found = task_of(f"b={tmp_path / 'a.yaml'}", no_encoder)
    assert isinstance(found, Task)
    assert found.name == "b"


def test_a_folder_that_is_no_classifier_is_told_at_the_start(folder: Path, tmp_path: Path) -> None:
    with pytest.raises(NotFoundError, match=r"classifier\.json"):
        task_of(str(tmp_path), no_encoder)
    content = json.loads((folder / "classifier.json").read_text())
    damages: list[dict[str, Any]] = [{"members": []}, {"choice": {}}, {"model": None}, {"format": "x"}]
    for damage in damages:
        (folder / "classifier.json").write_text(json.dumps(content | damage))
        with pytest.raises(InvalidInputError, match=r"damaged|no classifier"):
            task_of(str(folder), no_encoder)


def test_another_model_is_refused(folder: Path) -> None:
    classifier = load_classifier(folder, "mood", no_encoder)
    with pytest.raises(InvalidParameterError, match="fitted with"):
        run(classifier.predict(FakeModel().asynchronous(), ["a"]))


@dataclass
class Asking:
    """Stands for a stored classifier: it asks the model twice, and says even odds."""

    num_asked: int = 0

    def bind(self, backend: Backend) -> "Asking":
        self.backend = backend
        return self

    def probabilities(self, inputs: Sequence[str]) -> Any:
        for _ in range(2):
            self.num_asked += 1
            self.backend.score(inputs, [" a", " b"])
        return np.full((len(inputs), 2), 0.5)


def asking(stands_in: Asking) -> ServedClassifier:
    return ServedClassifier(
        Task(name="t", labels=("a", "b")), ("a", "b"), lambda b: cast(Predictor, stands_in.bind(b)), {}
    )


def test_leaving_aborts_what_it_asks_and_asks_nothing_more() -> None:
    async def check() -> None:
        model, stands_in = FakeModel(gate=asyncio.Event()), Asking()
        working = asyncio.ensure_future(asking(stands_in).predict(model.asynchronous(), ["x"] * 5))
        await until(lambda: model.num_running == 5)
        working.cancel()
        await until(lambda: model.num_running == 0)
        assert (model.num_aborted, stands_in.num_asked) == (5, 1)

    run(check())


def test_what_it_asks_counts_as_usage_of_the_request() -> None:
    async def check() -> None:
        tally = Tally(lambda model, amount: None)
        current_tally.set(tally)
        (answer, _) = await asking(Asking()).predict(metered(FakeModel().asynchronous(), "m"), ["x", "y"])
        assert tally.amounts(None)["m"].prompt_tokens == 2 * 2 * 7
        assert answer == {"input": "x", "prediction": "a", "probabilities": {"a": 0.5, "b": 0.5}}

    run(check())


def test_the_blocking_backend_is_the_model() -> None:
    async def check() -> None:
        model = FakeModel()
        backend = BlockingBackend(model.asynchronous(), asyncio.get_running_loop())
        parameters = GenerationParameters(max_new_tokens=2)
        made = await asyncio.to_thread(backend.generate, ["a", "b"], parameters)
        assert [each.completions[0].text for each in made] == [" w1 w2"] * 2
        (event,) = await asyncio.to_thread(lambda: list(backend.stream("a", parameters)))
        assert event.generation == made[0]
        assert (await asyncio.to_thread(backend.embed, ["a"])).tolist() == [[3, 4, 0, 0]]
        assert (await asyncio.to_thread(backend.embed, [])).shape == (0, 4)
        assert await asyncio.to_thread(backend.count_tokens, "a b") == 2
        await asyncio.to_thread(backend.pin, "p")
        assert model.pinned == ["p"]
        await asyncio.to_thread(backend.unpin, "p")
        assert (model.pinned, backend.info) == ([], model.info)

    run(check())

"""A served classifier that is saved anew takes its own place."""

import json
import logging
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest

from handful import FewShotClassifier
from handful.config import Settings
from handful.local import LocalModel, load
from handful.server.classifier_sync import ClassifierSync
from handful.server.task_registry import ServedTask, TaskRegistry
from tests.unit.client.live import live
from tests.unit.model.tiny_models import checkpoint
from tests.unit.server.serving import run
from tests.unit.server.test_classifier import TEXTS, served


@pytest.fixture(scope="module")
def model() -> Iterator[LocalModel]:
    made = load(str(checkpoint("llama")), configuration=Settings(precision="float32", kv_memory_mb=16))
    yield made
    made.close()


@pytest.fixture
def fitted(model: LocalModel) -> FewShotClassifier:
    return FewShotClassifier(model, recipe="calibrated").fit(TEXTS, ["good", "bad"] * 8)


def saved(fitted: FewShotClassifier, folder: Path) -> ServedTask:
    fitted.save(folder)
    return served(folder)


def looks(tasks: TaskRegistry, number: int, sync: ClassifierSync | None = None) -> ServedTask:
    async def look() -> None:
        one = sync or ClassifierSync(tasks)
        for _ in range(number):
            await one.refresh()

    run(look())
    (found,) = tasks.everything()
    return found


def test_a_class_that_was_added_is_served_without_a_restart(
    model: LocalModel, fitted: FewShotClassifier, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("handful.server.store_sync.REFRESH_S", 0.02)
    task = saved(fitted, tmp_path)
    with live({"tiny": model}, task) as url:
        before = httpx.post(f"{url}/tasks/mood", json={"inputs": "an odd film"})
        fitted.add([f"the odd film {i}" for i in range(8)], ["odd"] * 8).save(tmp_path)
        for _ in range(500):
            (told,) = httpx.get(f"{url}/tasks").json()
            after = httpx.post(f"{url}/tasks/mood", json={"inputs": "an odd film"})
            assert after.status_code == 200
            if told["version"] == 2:
                break
        after = httpx.post(f"{url}/tasks/mood", json={"inputs": "an odd film"})
    assert list(before.json()[0]["probabilities"]) == ["bad", "good"]
    assert list(after.json()[0]["probabilities"]) == told["classifier"]["classes"] == ["bad", "good", "odd"]
    assert (before.headers["x-task-version"], after.headers["x-task-version"]) == ("1", "2")


def test_a_folder_is_read_only_when_nothing_moved_since_the_look_before(
    fitted: FewShotClassifier, tmp_path: Path
) -> None:
    task = saved(fitted, tmp_path)
    tasks = TaskRegistry([task])
    sync = ClassifierSync(tasks)
    assert looks(tasks, 3, sync) is task
    fitted.add(["one more"], ["good"]).save(tmp_path)
    assert looks(tasks, 1, sync) is task
    renewed = looks(tasks, 1, sync)
    assert (renewed.version, looks(tasks, 3, sync)) == (2, renewed)


@pytest.mark.parametrize("damage", [{"choice": {}}, {"model": {"name": "another", "revision": "", "hidden_size": 8}}])
def test_what_cannot_take_its_place_is_told_once_and_the_old_one_stays(
    fitted: FewShotClassifier, tmp_path: Path, damage: dict[str, object], caplog: pytest.LogCaptureFixture
) -> None:
    task = saved(fitted, tmp_path)
    tasks = TaskRegistry([task])
    path = tmp_path / "classifier.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | damage))
    with caplog.at_level(logging.WARNING, logger="handful.server"):
        assert looks(tasks, 5) is task
    (told,) = [json.loads(one.getMessage()) for one in caplog.records]
    assert (told["event"], told["task"]) == ("classifier not renewed", "mood")


def test_a_folder_that_is_gone_leaves_what_is_served(fitted: FewShotClassifier, tmp_path: Path) -> None:
    task = saved(fitted, tmp_path)
    (tmp_path / "classifier.json").unlink()
    assert looks(TaskRegistry([task]), 3) is task

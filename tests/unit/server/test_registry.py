"""Names, loading, and honest estimates."""

import time

import pytest

from handful.errors import EngineError, InvalidInputError, NotFoundError
from handful.server.model_entry import ModelEntry, ModelSource
from handful.server.registry import ModelRegistry
from handful.server.served_model import ServedModel
from handful.server.task_registry import ServedTask, TaskRegistry
from tests.unit.server.serving import SENTIMENT, FakeModel, client_of, run, state_with, until


def source(name: str, size_bytes: int = 0) -> ModelSource:
    return ModelSource(name, FakeModel().load, size_bytes)


@pytest.mark.parametrize(
    "name", ["", "..", "../etc", "/etc/passwd", "a/b/c", "a//b", "a\0", "C:\\x", "a b", ".hidden", "a" * 97]
)
def test_a_name_that_could_be_a_path_is_refused(name: str) -> None:
    with pytest.raises(InvalidInputError):
        ModelRegistry([source(name)])


@pytest.mark.parametrize("name", ["default", "EleutherAI/gpt-neo-2.7B", "my_model.v2"])
def test_hub_ids_and_folder_names_are_names(name: str) -> None:
    assert ModelRegistry([source(name)]).names == (name,)


def test_a_name_can_be_given_once() -> None:
    with pytest.raises(InvalidInputError, match="Two models"):
        ModelRegistry([source("a"), source("a")])
    with pytest.raises(InvalidInputError, match="Two tasks"):
        TaskRegistry([ServedTask(SENTIMENT, "a"), ServedTask(SENTIMENT, "a")])


def test_an_unknown_name_is_told_with_those_there_are() -> None:
    with pytest.raises(NotFoundError, match="has: a, b"):
        ModelRegistry([source("a"), source("b")]).entry("c")


def test_the_estimate_comes_from_the_size_and_the_time_so_far() -> None:
    entry = ModelEntry(source("a", size_bytes=1_500_000_000))
    assert entry.remaining_s(now=100) == 15
    entry.started_at = 100
    assert entry.remaining_s(now=104) == 11


def test_an_estimate_that_was_wrong_grows_instead_of_standing_still() -> None:
    entry = ModelEntry(source("a"))
    entry.started_at = 0
    assert entry.remaining_s(now=100) == 50
    assert entry.remaining_s(now=200) == 100


def test_while_it_is_downloaded_the_time_left_goes_by_the_rate_so_far(monkeypatch: pytest.MonkeyPatch) -> None:
    now = 0.0
    monkeypatch.setattr(time, "monotonic", lambda: now)
    entry = ModelEntry(ModelSource("m", FakeModel().load), started_at=0.0)
    left = []
    for now, num_done in ((0.0, 0), (10.0, 100), (20.0, 300), (30.0, 450), (40.0, 600)):
        entry.note_download(num_done * 1_000_000, 600_000_000)
        left.append(entry.remaining_s(now))
    loading_s = 5 + 600e6 / 150e6
    assert left[1:] == pytest.approx([50 + loading_s, 20 + loading_s, 10 + loading_s, loading_s], rel=0.02)
    assert entry.remaining_s(44.0) == pytest.approx(loading_s - 4)
    assert entry.remaining_s(440.0) == pytest.approx(200)


def test_before_the_first_byte_of_a_download_nobody_is_told_to_come_back_in_years(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    entry = ModelEntry(ModelSource("default-embeddings", FakeModel().load), started_at=10.0)
    monkeypatch.setattr(time, "monotonic", lambda: 10.0)
    entry.note_download(0, 83_506_384)
    assert 5 < entry.remaining_s(10.5) < 20
    assert entry.remaining_s(12.0) < 60
    assert entry.remaining_s(130.0) > 1000  # a network that brings nothing


def test_a_model_that_has_loaded_needs_no_more_time() -> None:
    async def check() -> None:
        state = state_with(FakeModel())
        async with client_of(state):
            assert state.models.entry("fake").remaining_s(now=1e9) == 0

    run(check())


def test_a_panic_of_rust_code_is_a_failure_and_not_a_load_without_end() -> None:
    class PanicException(BaseException):
        """As pyo3 has it."""

    def panic() -> ServedModel:
        raise PanicException

    entry = ModelEntry(ModelSource("a", panic))
    entry.load()
    assert isinstance(entry.failure, EngineError)


def test_loading_ends_with_the_first_model_that_fails() -> None:
    async def check() -> None:
        state = state_with(FakeModel(load_error=NotFoundError("Gone.")))
        async with client_of(state):
            await until(lambda: state.models.states() == {"fake": "failed", "org/fake": "failed"})
            said = [str(state.models.entry(name).failure) for name in state.models.names]
            assert said == ["Gone.", "Not loaded, because fake could not be."]

    run(check())

"""A download tells how far it is to whoever started it."""

from pathlib import Path

from handful.model.download_progress import bar_class, told_to
from tests.unit.model.fake_hub import FakeHub
from tests.unit.model.test_hub import NAME, get, hub, model

__all__ = ["hub", "model"]  # fixtures


def test_nobody_is_told_where_nobody_asked() -> None:
    assert bar_class() is None
    with told_to(lambda _done, _all: None):
        assert bar_class() is not None
    assert bar_class() is None


def test_a_download_is_told_up_to_its_last_byte(hub: FakeHub, model: Path) -> None:
    hub.add(NAME, model)
    told: list[tuple[int, int]] = []
    with told_to(lambda num_done, num_all: told.append((num_done, num_all))):
        files = get()
    num_bytes = sum(file.stat().st_size for file in files.folder.iterdir())
    assert told[-1] == (num_bytes, num_bytes)
    assert [done for done, _ in told] == sorted(done for done, _ in told)


def test_a_model_that_is_here_already_is_no_download(hub: FakeHub, model: Path) -> None:
    hub.add(NAME, model)
    get()
    told: list[int] = []
    with told_to(lambda num_done, _all: told.append(num_done)):
        get()
    assert sum(told) == 0

"""What is brought is examined a few at a time, and as long as somebody waits for it."""

import asyncio
import signal
import threading
from pathlib import Path

import pytest

from handful.errors import InvalidInputError
from handful.model import apart
from handful.model.apart import Examination
from handful.server import model_examiner
from handful.server.model_examiner import ModelExaminer
from tests.unit.server.serving import run, until


class Held:
    """An examination that ends when it is let or given up."""

    running: list["Held"]

    def __init__(self, path: Path, name: str) -> None:
        self.ended = threading.Event()
        self.running.append(self)

    def wait(self) -> None:
        self.ended.wait(60)

    def give_up(self) -> None:
        self.ended.set()


@pytest.fixture
def held(monkeypatch: pytest.MonkeyPatch) -> list[Held]:
    Held.running = []
    monkeypatch.setattr(model_examiner, "Examination", Held)
    return Held.running


def test_two_are_examined_at_a_time(held: list[Held], tmp_path: Path) -> None:
    async def check() -> None:
        (tmp_path / "model.safetensors").touch()
        examiner = ModelExaminer()
        checks = [asyncio.ensure_future(examiner.check_upload(tmp_path, "x")) for _ in range(3)]
        await until(lambda: len(held) == 2)
        await asyncio.sleep(0.05)
        assert len(held) == 2
        for each in held[:]:
            each.ended.set()
        await until(lambda: len(held) == 3)
        held[2].ended.set()
        await asyncio.gather(*checks)

    run(check())


def test_who_gives_up_waiting_ends_it(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    started: list[Examination] = []

    class Kept(Examination):
        def __init__(self, path: Path, name: str) -> None:
            super().__init__(path, name)
            started.append(self)

    async def check() -> None:
        monkeypatch.setattr(apart, "_MODULE", "tests.unit.model.planted_examiner")
        monkeypatch.setattr(model_examiner, "Examination", Kept)
        checking = asyncio.ensure_future(ModelExaminer().check_upload(tmp_path / "sleeps", "x"))
        await until(lambda: bool(started))
        checking.cancel()
        with pytest.raises(asyncio.CancelledError):
            await checking
        await until(lambda: started[0]._process.returncode == -signal.SIGKILL)

    run(check())


def test_what_is_wrong_does_not_tell_where_an_upload_lies(tmp_path: Path) -> None:
    async def check() -> None:
        with pytest.raises(InvalidInputError, match="upload is no model") as caught:
            await ModelExaminer().check_upload(tmp_path, "x")
        assert str(tmp_path) not in str(caught.value)

    run(check())

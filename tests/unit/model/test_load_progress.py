"""How far a load is: nothing of a short one, then a bar and lines in the log."""

import io
import logging
import sys

import pytest

from handful.model import load_progress
from handful.model.checkpoint import Checkpoint
from handful.model.load_progress import told
from tests.unit.model.tiny_models import checkpoint as folder_of


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


def read_all(monkeypatch: pytest.MonkeyPatch) -> str:
    """What a terminal shows while a checkpoint is read."""
    monkeypatch.setattr(sys, "stderr", terminal := Terminal())
    with Checkpoint(folder_of("llama")) as checkpoint, told("tiny", checkpoint) as tensors:
        for name in tensors.names:
            assert tensors.tensor(name).shape == tensors.shape(name)
    return terminal.getvalue()


def test_a_short_load_shows_nothing(monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO)
    assert (read_all(monkeypatch), caplog.messages) == ("", [])


def test_a_long_load_shows_a_bar_on_a_terminal(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(load_progress, "SHOWN_AFTER_S", 1e-9)
    assert "Loading tiny" in read_all(monkeypatch)


def test_a_long_load_is_told_in_the_log(monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO)
    monkeypatch.setattr(load_progress, "SAID_EVERY_S", 0.0)
    read_all(monkeypatch)
    assert caplog.messages[0].startswith("loading tiny: 0 of 0 MB")

"""What `verbose=True` shows in Python: a bar on a terminal, nothing on a stream that a program reads."""

import io
import sys

import pytest

from handful.learn.estimator import FewShotClassifier
from handful.learn.progress import show_steps
from tests.unit.learn.structured import StructuredBackend, inputs
from tests.unit.learn.tunable import Rote
from tests.unit.learn.tunable_model import TunableModel

TEXTS = inputs("bad", range(9)) + inputs("good", range(9))
CLASSES = ["bad"] * 9 + ["good"] * 9


class Stream(io.StringIO):
    def __init__(self, *, is_terminal: bool) -> None:
        super().__init__()
        self.is_terminal = is_terminal

    def isatty(self) -> bool:
        return self.is_terminal


def shown_by_a_fit(monkeypatch: pytest.MonkeyPatch, *, verbose: bool, is_terminal: bool) -> str:
    monkeypatch.setenv("TERM", "xterm")
    out, err = Stream(is_terminal=is_terminal), Stream(is_terminal=is_terminal)
    monkeypatch.setattr(sys, "stdout", out)
    monkeypatch.setattr(sys, "stderr", err)
    made = FewShotClassifier(
        StructuredBackend(), input="Text: {text}", encoder=Rote(), encoder_steps=2, recipe="encoder", verbose=verbose
    )
    made.fit(TEXTS, CLASSES)
    assert out.getvalue() == ""
    return err.getvalue()


def test_a_verbose_fit_shows_a_bar_on_the_terminals_standard_error(monkeypatch: pytest.MonkeyPatch) -> None:
    assert "tuning the encoder" in shown_by_a_fit(monkeypatch, verbose=True, is_terminal=True)


def test_the_bar_of_a_verbose_fit_says_that_prompts_are_tuned(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TERM", "xterm")
    err = Stream(is_terminal=True)
    monkeypatch.setattr(sys, "stderr", err)
    made = FewShotClassifier(TunableModel(tuned_signal=1.0), input="Text: {text}", prompt_epochs=1, verbose=True)
    made.fit(inputs("bad", range(32)) + inputs("good", range(32)), ["bad"] * 32 + ["good"] * 32)
    assert "tuning prompts" in err.getvalue()


def test_a_fit_that_is_not_verbose_shows_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    assert shown_by_a_fit(monkeypatch, verbose=False, is_terminal=True) == ""


def test_a_verbose_fit_shows_nothing_where_standard_error_is_no_terminal(monkeypatch: pytest.MonkeyPatch) -> None:
    assert shown_by_a_fit(monkeypatch, verbose=True, is_terminal=False) == ""


def test_steps_nobody_watches_are_told_all_the_same() -> None:
    with show_steps("counting", is_wanted=False) as advance:
        advance(1, 2)

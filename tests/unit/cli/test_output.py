"""What people and programs see."""

import io
import re
from typing import Any

import pytest

from handful.cli.output import Record, harmless, json_line, write_text

CLOSED: dict[str, Any] = {"input": "a\n  b", "prediction": "x", "probabilities": {"y": 0.25, "x": 0.5, "z": 0.25}}
OPEN: dict[str, Any] = {"input": "a", "prediction": "b\nc", "completion": " b\nc", "finish_reason": "length"}


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


def shown(record: Record, out: io.StringIO | None = None) -> str:
    stream = out or io.StringIO()
    write_text([record], stream)
    return stream.getvalue()


def test_the_prediction_comes_first_and_the_others_by_probability() -> None:
    assert shown(CLOSED) == "a b\n  x 50.0%   (y 25.0%, z 25.0%)\n"


def test_many_labels_are_cut_for_people() -> None:
    probabilities = {"x": 0.5} | {f"l{i}": 0.05 for i in range(10)}
    assert shown({"input": "a", "prediction": "x", "probabilities": probabilities}).endswith(", l3 5.0%, and 6 more)\n")


def test_a_text_that_was_cut_off_says_so() -> None:
    assert shown(OPEN) == "a\n  b\n  c  (cut off at max_new_tokens)\n"


def test_an_error_stands_where_the_answer_would() -> None:
    assert shown({"input": "", "prediction": None, "error": "line 3: is empty"}) == "\n  error: line 3: is empty\n"


def test_several_variables_are_shown_by_name() -> None:
    assert shown(OPEN | {"input": {"left": "l", "right": "r"}}).startswith("left: l, right: r\n")


def test_a_terminal_gets_colour(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("NO_COLOR", raising=False)
    monkeypatch.setenv("TERM", "xterm-256color")
    assert "\x1b[" in shown(CLOSED, Terminal())


def test_a_dumb_terminal_gets_no_escapes(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TERM", "dumb")
    assert "\x1b" not in shown(CLOSED, Terminal())


def test_no_color_takes_the_colour_and_leaves_the_weight(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TERM", "xterm-256color")
    monkeypatch.setenv("NO_COLOR", "1")
    codes = set(re.findall(r"\x1b\[([0-9;]*)m", shown(CLOSED, Terminal())))
    assert codes == {"0", "1", "2"}


def test_json_keeps_letters_and_escapes_control_characters() -> None:
    assert json_line({"input": "é\x1b\n"}) == '{"input": "é\\u001b\\n"}\n'


def test_control_characters_are_made_harmless() -> None:
    assert harmless("a\x1b[2J\x07\x9b\x7f\tb\n") == "a�[2J���\tb\n"

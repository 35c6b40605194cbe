"""What people and programs see."""

import io

import pytest

from handful.cli.output import harmless, json_line, write_text

CLOSED = {"input": "a\n  b", "prediction": "x", "probabilities": {"y": 0.25, "x": 0.5, "z": 0.25}}
OPEN = {"input": "a", "prediction": "b\nc", "completion": " b\nc", "finish_reason": "length"}


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


def shown(record: dict[str, object], out: io.StringIO | None = None) -> str:
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
    assert shown(OPEN | {"input": {"left": "l", "right": "r"}}).startswith("left: l  right: r\n")


def test_a_terminal_gets_colour(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("NO_COLOR", raising=False)
    monkeypatch.setenv("TERM", "xterm-256color")
    assert "\x1b[" in shown(CLOSED, Terminal())


@pytest.mark.parametrize(("variable", "value"), [("NO_COLOR", "1"), ("TERM", "dumb")])
def test_a_terminal_without_colour_gets_none(monkeypatch: pytest.MonkeyPatch, variable: str, value: str) -> None:
    monkeypatch.setenv("TERM", "xterm-256color")
    monkeypatch.setenv(variable, value)
    text = shown(CLOSED, Terminal())
    assert "\x1b[3" not in text.replace("\x1b[0m", "").replace("\x1b[1m", "")
    assert "32m" not in text


def test_json_keeps_letters_and_escapes_control_characters() -> None:
    assert json_line({"input": "é\x1b\n"}) == '{"input": "é\\u001b\\n"}\n'


def test_control_characters_are_made_harmless() -> None:
    assert harmless("a\x1b[2J\x07\x9b\x7f\tb\n") == "a�[2J���\tb\n"

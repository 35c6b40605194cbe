"""`handful prompt`: the text a model gets, with counts, without weights."""

import json
import sys
from pathlib import Path

import pytest

from handful.cli import prompt as prompt_command
from handful.cli.main import main
from handful.cli.prompt import Counter
from handful.task.render import prefix, prompt
from handful.task.task import Example, Task

TASK = Task(name="shout", description="Shout.", input="Say: {text}", examples=(Example({"text": "a"}, "A"),))
PAIR = Task(name="pair", input="{left} and {right}")


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    TASK.save(tmp_path / "shout.yaml")
    PAIR.save(tmp_path / "pair.yaml")
    monkeypatch.chdir(tmp_path)
    counter = Counter(lambda text: len(text.encode()), 200)
    monkeypatch.setattr(prompt_command, "open_counter", lambda name, token: counter)
    return tmp_path


def run(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], *arguments: str) -> tuple[int, str, str]:
    monkeypatch.setattr(sys, "argv", ["handful", "prompt", *arguments])
    with pytest.raises(SystemExit) as ended:
        main()
    captured = capsys.readouterr()
    return int(ended.value.code or 0), captured.out, captured.err


@pytest.mark.usefixtures("folder")
class TestPrompt:
    def test_the_prompt_alone_is_on_standard_output(
        self, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
    ) -> None:
        code, out, err = run(monkeypatch, capsys, "shout.yaml", "hi")
        assert (code, out) == (0, prompt(TASK, {"text": "hi"}) + "\n")
        assert f"{len(prefix(TASK)):>7}  tokens of description and examples" in err

    def test_json_has_prompt_and_counts(
        self, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
    ) -> None:
        _, out, _ = run(monkeypatch, capsys, "shout.yaml", "hi", "--json")
        whole = prompt(TASK, {"text": "hi"})
        assert json.loads(out) == {
            "task": "shout",
            "prompt": whole,
            "num_prefix_tokens": len(prefix(TASK)),
            "num_query_tokens": len(whole) - len(prefix(TASK)),
            "num_prompt_tokens": len(whole),
            "context_length": 200,
            "dropped_examples": 0,
        }

    def test_without_a_text_the_variables_stand_for_it(
        self, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
    ) -> None:
        assert "Say: {text}\nOutput:" in run(monkeypatch, capsys, "shout.yaml")[1]

    def test_several_variables_come_as_json(
        self, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
    ) -> None:
        assert run(monkeypatch, capsys, "pair.yaml", '{"left": "l", "right": "r"}')[1] == "l and r\nOutput:\n"

    def test_a_text_for_several_variables_is_refused(
        self, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
    ) -> None:
        code, _, err = run(monkeypatch, capsys, "pair.yaml", "l")
        assert code == 1
        assert "Give a JSON object" in err

    def test_examples_that_do_not_fit_are_counted(
        self, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
    ) -> None:
        _, out, _ = run(monkeypatch, capsys, "shout.yaml", "x" * 65, "--json")
        assert json.loads(out)["dropped_examples"] == 1

    def test_a_query_that_cannot_fit_is_refused_with_counts(
        self, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
    ) -> None:
        code, _, err = run(monkeypatch, capsys, "shout.yaml", "x" * 300)
        assert code == 1
        assert "the model's context holds 200" in err

"""`handful serve` from its options to what is served."""

import importlib.util
import sys
from pathlib import Path

import pytest

from handful.cli.main import main
from handful.cli.serve import _models
from handful.server.precisions import Precisions
from handful.task.task import Task


def test_without_a_model_both_embedded_ones_are_served() -> None:
    assert _models([], Precisions.read([]))[0] == ["default", "default-embeddings"]


def test_what_could_not_run_here_is_not_served_and_what_is_missing_is_said(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    assert _models([], Precisions.read([]))[0] == ["default"]
    assert "pip install 'handful[transformers]'" in capsys.readouterr().err
    assert _models(["default-embeddings"], Precisions.read([]))[0] == ["default-embeddings"]


@pytest.mark.parametrize("name", ["a b", "", "a/b/c"])
def test_a_tasks_name_that_can_not_be_is_told_and_not_taken_for_a_file(
    name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    Task(name="mine", labels=("good", "bad")).save(tmp_path / "mine.yaml")
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "argv", ["handful", "serve", "--port", "0", "--task", f"{name}=mine.yaml"])
    with pytest.raises(SystemExit) as ended:
        main()
    said = capsys.readouterr().err
    assert (ended.value.code, said.count("\n")) == (1, 1)
    assert f"{name!r} can't be the name of a task. Names are letters, digits, " in said

"""`handful eval` as people use it: a process, the default model, a kill; and the guide's own commands."""

import json
import re
import shlex
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import pytest

from handful import Example, Task
from handful.backend import Backend
from handful.cli import run as run_command
from handful.cli.main import main
from handful.evals.data import Columns, read_items
from tests.e2e.conftest import EXAMPLES, HANDFUL, Server
from tests.e2e.test_run_command import environment

GUIDE = Path(__file__).parents[2] / "docs" / "evaluation.md"
NUM_SETS, NUM_QUERIES = 10, 12


@pytest.fixture
def folder(tmp_path: Path, default_model: Backend) -> Path:
    """The examples, with the default model on this machine."""
    shutil.copytree(EXAMPLES, tmp_path / "examples")
    return tmp_path


def start(folder: Path) -> subprocess.Popen[bytes]:
    data = ["--data", "examples/labelled-reviews.csv", "--limit", str(NUM_QUERIES)]
    grid = ["--shots", "0,2", "--seeds", str(NUM_SETS), "--predictor", "plain", "--precision", "float32"]
    command = [*HANDFUL, "eval", "examples/sentiment.yaml", *data, *grid, "--output", "measured"]
    return subprocess.Popen(
        command, cwd=folder, env=environment(HANDFUL_THREADS="1"), stdout=subprocess.PIPE, stderr=subprocess.PIPE
    )


def records(folder: Path) -> list[dict[str, Any]]:
    """The whole records of a run; one may be torn at its end."""
    content = (folder / "measured" / "records.jsonl").read_bytes()
    return [json.loads(line) for line in content.split(b"\n")[:-1]]


def wait_for_records(folder: Path, process: subprocess.Popen[bytes], count: int) -> None:
    deadline = time.monotonic() + 120
    path = folder / "measured" / "records.jsonl"
    while time.monotonic() < deadline and process.poll() is None:
        if path.exists() and path.read_bytes().count(b"\n") >= count:
            return
        time.sleep(0.005)
    raise AssertionError("the evaluation ended, or wrote nothing, before it could be killed")


def test_an_evaluation_that_is_killed_goes_on_and_asks_every_query_once(folder: Path, default_model: Backend) -> None:
    process = start(folder)
    wait_for_records(folder, process, 2 * NUM_QUERIES)
    process.send_signal(signal.SIGKILL)
    process.communicate(timeout=30)
    kept = records(folder)
    with start(folder) as again:
        out, err = again.communicate(timeout=120)
    assert again.returncode == 0, err
    assert b"records are there already" in err
    found = records(folder)
    assert found[: len(kept)] == kept
    assert len(kept) < len(found)
    asked = [(record["shots"], record["set"], record["item"]) for record in found]
    cells = [(0, 0), *((2, number) for number in range(NUM_SETS))]
    assert asked == [(*cell, item) for cell in cells for item in range(NUM_QUERIES)]
    check_answers(folder, found, default_model)
    check_report(folder / "measured")
    assert out.startswith(b"predictor  shots")


def check_answers(folder: Path, found: list[dict[str, Any]], model: Backend) -> None:
    """What the last cell answered is what its prompt answers by itself."""
    task = Task.load(folder / "examples" / "sentiment.yaml").replace(calibration="none")
    cell = json.loads((folder / "measured" / "cells.jsonl").read_text().splitlines()[-1])
    rows = {item.place: item for item in read_items(folder / "examples" / "labelled-reviews.csv", task, Columns())}
    shown = [Example(rows[place].inputs, rows[place].expected) for place in cell["examples"]]
    last = [record for record in found if (record["shots"], record["set"]) == (cell["shots"], cell["set"])]
    predictions = task.with_examples(shown).predict(model, [record["input"] for record in last])
    assert [prediction.prediction for prediction in predictions] == [record["prediction"] for record in last]
    for prediction, record in zip(predictions, last, strict=True):
        assert prediction.probabilities == pytest.approx(record["probabilities"], abs=1e-4)


def check_report(run: Path) -> None:
    """The page and whole figures."""
    assert "Evaluation of sentiment" in (run / "report.html").read_text()
    figures = sorted((run / "figures").iterdir())
    assert {path.suffix for path in figures} == {".png", ".svg"}
    for path in figures:
        if path.suffix == ".png":
            content = path.read_bytes()
            assert content.startswith(b"\x89PNG\r\n\x1a\n")
            assert content.endswith(b"IEND\xaeB`\x82")
        else:
            assert ElementTree.parse(path).getroot().tag.endswith("svg")  # noqa: S314


def test_a_model_behind_a_url_is_measured_like_one_in_this_process(
    folder: Path, server: Server, default_model: Backend, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(folder)
    monkeypatch.setattr(default_model, "close", lambda: None)  # the next test needs it
    arguments = ["eval", "examples/sentiment.yaml", "--data", "examples/labelled-reviews.csv", "--limit", "6"]
    for name in (server.model_url, "default"):
        if name == "default":
            monkeypatch.setattr(run_command, "open_backend", lambda name, **options: default_model)
        more = ["--model", name, "--output", "measured" if name == "default" else "remote"]
        monkeypatch.setattr(sys, "argv", ["handful", *arguments, *more])
        with pytest.raises(SystemExit) as ended:
            main()
        assert ended.value.code in (0, None)
    remote = [json.loads(line) for line in (folder / "remote" / "records.jsonl").read_text().splitlines()]
    assert len(remote) == 6
    for one, other in zip(remote, records(folder), strict=True):
        assert one["probabilities"] == pytest.approx(other["probabilities"], abs=1e-4)
        assert (one["input"], one["prediction"]) == (other["input"], other["prediction"])


def commands() -> list[str]:
    """The guide's commands, in order."""
    blocks = re.findall(r"^```bash\n(.*?)^```$", GUIDE.read_text(encoding="utf-8"), re.MULTILINE | re.DOTALL)
    lines = "\n".join(blocks).replace("\\\n", " ").splitlines()
    return [line for line in lines if line.startswith("handful ")]


def test_the_guides_commands_work_one_after_the_other(
    folder: Path, default_model: Backend, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(folder)
    monkeypatch.setattr(default_model, "close", lambda: None)  # the next command needs it
    monkeypatch.setattr(run_command, "open_backend", lambda name, **options: default_model)
    assert {line.split()[1] for line in commands()} == {"eval", "sweep", "compare"}
    for line in commands():
        monkeypatch.setattr(sys, "argv", shlex.split(line, comments=True))
        with pytest.raises(SystemExit) as ended:
            main()
        captured = capsys.readouterr()
        assert ended.value.code in (0, None), captured.err
        assert captured.out

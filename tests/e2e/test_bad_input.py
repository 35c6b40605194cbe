"""What goes wrong with models and texts is told in one line, with the right exit code, and loses nothing else."""

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
from huggingface_hub import constants

from handful.backend import Backend
from handful.cli import run as run_command
from handful.cli.main import main
from tests.e2e.conftest import EXAMPLES, HANDFUL
from tests.unit.model.tiny_models import checkpoint

TASK = str(EXAMPLES / "sentiment.yaml")

Run = Callable[..., tuple[int, str, str]]


@pytest.fixture
def run(monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]) -> Run:
    """The command line in this process, which has torch already: exit code, standard output, standard error."""

    def run_here(*arguments: str) -> tuple[int, str, str]:
        monkeypatch.setattr(sys, "argv", ["handful", *arguments])
        with pytest.raises(SystemExit) as ended:
            main()
        said = capfd.readouterr()
        return int(ended.value.code or 0), said.out, said.err

    return run_here


def error_line(done: tuple[int, str, str]) -> str:
    """The one line of an error that the user can do something about."""
    code, out, err = done
    assert (code, out) == (1, "")
    assert "Traceback" not in err
    assert err.startswith("error: ")
    assert err.count("\n") == 1
    return err


@pytest.mark.parametrize(
    "name",
    ["./no-such-folder", "no-such-file.gguf", "someone/no-such-model", "../../etc/passwd/x", "a b", "x" * 5000, "a\0b"],
)
def test_a_model_that_does_not_exist(name: str, run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", True)
    said = error_line(run("run", TASK, "a", "--model", name))
    assert name in said or "`model` is too long or holds characters that no name has" in said


@pytest.fixture
def model(tmp_path: Path) -> Path:
    folder = tmp_path / "model"
    shutil.copytree(checkpoint("llama"), folder)
    return folder


def test_a_truncated_checkpoint(model: Path, run: Run) -> None:
    weights = model / "model.safetensors"
    weights.write_bytes(weights.read_bytes()[:-1000])
    said = error_line(run("run", TASK, "a", "--model", str(model)))
    assert "model.safetensors is damaged" in said


def test_a_checkpoint_of_other_shapes(model: Path, run: Run) -> None:
    config = json.loads((model / "config.json").read_text())
    (model / "config.json").write_text(json.dumps(config | {"intermediate_size": 96}))
    said = error_line(run("run", TASK, "a", "--model", str(model)))
    assert "[80, 48]" in said
    assert "[96, 48]" in said


def test_bad_texts_among_good_ones() -> None:
    rows = [b"What a joy.", b"", b"   ", b"caf\xe9", b"\xed\xa0\x80", b"word " * 20_000, b"\0", b"I left early."]
    environment = os.environ | {"HANDFUL_KV_MEMORY_MB": "256"}
    command = [*HANDFUL, "run", TASK, "--json"]
    done = subprocess.run(command, env=environment, input=b"\n".join(rows) + b"\n", capture_output=True, check=False)
    assert b"Traceback" not in done.stderr
    assert done.returncode == 1
    assert done.stderr.decode().startswith("error: 5 of 8 rows could not be answered")
    assert done.stderr.count(b"\n") == 1
    records = [json.loads(line) for line in done.stdout.splitlines()]
    assert [record.get("error", "")[:25] for record in records] == [
        "",
        "line 2: The input is empt",
        "line 3: The input is empt",
        "line 4 is not UTF-8 (byte",
        "line 5 is not UTF-8 (byte",
        "line 6: The prompt has 20",
        "",
        "",
    ]
    assert "8192" in records[5]["error"]
    assert records[5]["input"] == "word " * 20_000
    assert {records[0]["prediction"], records[-1]["prediction"]} <= {"positive", "negative"}


def test_an_empty_argument_and_one_that_is_not_utf8(
    run: Run, default_model: Backend, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(default_model, "close", lambda: None)
    monkeypatch.setattr(run_command, "open_backend", lambda name, **options: default_model)
    code, out, err = run("run", TASK, "--json", "", "caf\udce9", "What a joy.")
    assert code == 1
    assert err.count("\n") == 1
    assert [json.loads(line).get("error") for line in out.splitlines()] == [
        "text 1: The input is empty. Give some text.",
        "text 2: is not UTF-8",
        None,
    ]

"""`handful run` as people use it: a process, the embedded default model, files and pipes."""

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest

from handful import Task
from handful.backend import Backend
from tests.e2e.conftest import EXAMPLES, HANDFUL

# The command line in a process that can't reach any network.
OFFLINE = """
import socket
def refuse(*arguments, **options):
    raise OSError("this process has no network")
socket.socket.connect = socket.socket.connect_ex = socket.getaddrinfo = refuse
from handful.cli.main import main
main()
"""
# The command line, and the most memory it ever had, as the last line on stderr. VmHWM is the process's own; what
# getrusage gives a child includes its parent from before the exec.
MEASURED = """
import pathlib, sys
from handful.cli.main import main
try:
    main()
finally:
    status = pathlib.Path("/proc/self/status").read_text()
    print(status.split("VmHWM:")[1].split()[0], file=sys.stderr)
"""
TASK = """
name: size
description: Is the animal large or small?
input: "Animal: {animal}"
output: "Size: {output}"
labels: [large, small]
examples:
  - {animal: an elephant, output: large}
  - {animal: a mouse, output: small}
"""
NUM_ROWS = 400
PYTHON = [sys.executable, "-c"]


def environment(**more: str) -> dict[str, str]:
    kept = {name: value for name, value in os.environ.items() if not name.startswith("HF_")}
    return kept | more


def run(command: list[str], folder: Path, **more: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        command,
        cwd=folder,
        env=environment(**more),
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        check=False,
    )


@pytest.fixture(scope="module")
def _fetched() -> None:
    """The default model is on this machine."""
    subprocess.run([*HANDFUL, "models", "pull", "default"], check=True, capture_output=True)


@pytest.fixture
def folder(tmp_path: Path, _fetched: None) -> Path:
    (tmp_path / "size.yaml").write_text(TASK)
    rows = [f"a {word} number {i}" for i in range(NUM_ROWS // 4) for word in ("whale", "flea", "horse", "bee")]
    (tmp_path / "in.txt").write_text("\n".join(rows) + "\n")
    return tmp_path


def test_one_command_without_network_or_key_gives_a_label_with_probabilities(folder: Path) -> None:
    arguments = ["run", str(EXAMPLES / "sentiment.yaml"), "I left before the end.", "What a joy.", "--json"]
    done = run([*PYTHON, OFFLINE, *arguments], folder, TERM="xterm-256color", FORCE_COLOR="1")
    assert (done.returncode, done.stderr) == (0, "")
    assert "\x1b" not in done.stdout  # results only, as they are
    records = [json.loads(line) for line in done.stdout.splitlines()]
    assert [record["prediction"] for record in records] == ["negative", "positive"]
    for record in records:
        probabilities = record["probabilities"]
        assert record["prediction"] == max(probabilities, key=probabilities.get)
        assert sum(probabilities.values()) == pytest.approx(1.0)


def start(folder: Path) -> subprocess.Popen[bytes]:
    arguments = ["run", "size.yaml", "--input", "in.txt", "--output", "out.jsonl", "--batch-size", "16"]
    command = [*HANDFUL, *arguments, "--precision", "float32"]
    return subprocess.Popen(command, cwd=folder, env=environment(), stderr=subprocess.PIPE)


def wait_for_records(path: Path, process: subprocess.Popen[bytes], count: int) -> None:
    deadline = time.monotonic() + 120
    while time.monotonic() < deadline and process.poll() is None:
        if path.exists() and path.read_bytes().count(b"\n") >= count:
            return
        time.sleep(0.01)
    raise AssertionError("the run ended, or wrote nothing, before it could be killed")


def records(path: Path) -> list[dict[str, Any]]:
    """The whole records of a file; one may be torn at its end."""
    return [json.loads(line) for line in path.read_bytes().split(b"\n")[:-1]]


def test_a_run_that_is_killed_and_started_again_answers_every_line_once(folder: Path, default_model: Backend) -> None:
    output = folder / "out.jsonl"
    process = start(folder)
    wait_for_records(output, process, 100)
    process.send_signal(signal.SIGKILL)
    process.communicate(timeout=30)
    assert process.returncode == -signal.SIGKILL
    num_kept = len(records(output))
    assert 100 <= num_kept < NUM_ROWS
    with start(folder) as again:
        assert again.wait(120) == 0
    continued = records(output)
    rows = (folder / "in.txt").read_text().splitlines()
    assert [record["input"] for record in continued] == rows
    around = slice(num_kept - 40, num_kept + 40)
    unbroken = Task.load(folder / "size.yaml").predict(default_model, rows[around])
    for one, other in zip((prediction.to_dict() for prediction in unbroken), continued[around], strict=True):
        # Batches are others here and there, and with them the last digits of a sum.
        assert one | {"probabilities": 0} == other | {"probabilities": 0}
        assert one["probabilities"] == pytest.approx(other["probabilities"], abs=1e-4)


def test_the_default_model_in_bfloat16_stays_under_a_gigabyte(folder: Path) -> None:
    (folder / "some.txt").write_text("\n".join((folder / "in.txt").read_text().splitlines()[:100]))
    command = ["run", "size.yaml", "--input", "some.txt", "--precision", "bfloat16", "--json"]
    done = run([*PYTHON, MEASURED, *command], folder)
    assert done.returncode == 0, done.stderr
    assert len(done.stdout.splitlines()) == 100
    assert int(done.stderr.split()[-1]) < 1_000_000

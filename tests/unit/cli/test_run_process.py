"""`handful run` as a process: starting fast, being interrupted, being killed, being read by `head`."""

import io
import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from handful.cli.inputs import read_rows
from handful.cli.run_loop import answer_rows
from handful.task.task import Task
from tests.fakes import FakeBackend

ROOT = Path(__file__).parents[3]
TASK = "name: shout\ninput: 'Say: {text}'\nparameters: {max_new_tokens: 30}\n"

# The command line over a model without weights that takes its time.
SLOW = """
import time
from handful.cli import run
from handful.cli.main import main
from tests.fakes import FakeBackend, shout_last_input

def answer(prompt):
    time.sleep(0.01)
    return shout_last_input(prompt)

run.open_backend = lambda name, **options: FakeBackend(answer=answer)
main()
"""


def command(*arguments: str) -> list[str]:
    return [sys.executable, "-c", SLOW, *arguments]


def environment() -> dict[str, str]:
    return {**os.environ, "PYTHONPATH": str(ROOT), "NO_COLOR": "1"}


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "shout.yaml").write_text(TASK)
    (tmp_path / "in.txt").write_text("".join(f"row {i}\n" for i in range(400)))
    return tmp_path


def start(folder: Path, output: str) -> subprocess.Popen[bytes]:
    arguments = command("run", "shout.yaml", "--input", "in.txt", "--output", output, "--batch-size", "8")
    process = subprocess.Popen(arguments, cwd=folder, env=environment(), stderr=subprocess.PIPE)
    deadline = time.monotonic() + 30
    while time.monotonic() < deadline and process.poll() is None:
        if (folder / output).exists() and (folder / output).read_bytes().count(b"\n") >= 16:
            break
        time.sleep(0.005)
    return process


def check_whole(folder: Path, output: str) -> None:
    rows = [json.loads(line) for line in (folder / output).read_text().splitlines()]
    assert [row["input"] for row in rows] == [f"row {i}" for i in range(400)]
    assert [row["prediction"] for row in rows] == [f"ROW {i}" for i in range(400)]


def test_an_interrupted_run_keeps_its_records_says_so_and_continues(folder: Path) -> None:
    process = start(folder, "out.jsonl")
    process.send_signal(signal.SIGINT)
    _, err = process.communicate(timeout=30)
    done = (folder / "out.jsonl").read_bytes().count(b"\n")
    assert process.returncode == 130
    assert f"interrupted: {done} records are kept; the same command continues." in err.decode()
    assert "Traceback" not in err.decode()
    assert 16 <= done < 400
    again = command("run", "shout.yaml", "--input", "in.txt", "--output", "out.jsonl")
    assert subprocess.run(again, cwd=folder, env=environment(), check=False).returncode == 0
    check_whole(folder, "out.jsonl")


def test_a_run_that_is_killed_again_and_again_answers_every_line_once(folder: Path) -> None:
    for _ in range(3):
        process = start(folder, "out.jsonl")
        process.kill()
        process.communicate(timeout=30)
    again = command("run", "shout.yaml", "--input", "in.txt", "--output", "out.jsonl")
    assert subprocess.run(again, cwd=folder, env=environment(), check=False).returncode == 0
    check_whole(folder, "out.jsonl")


def test_a_reader_that_leaves_ends_the_run_quietly(folder: Path) -> None:
    arguments = command("run", "shout.yaml", "--input", "in.txt", "--batch-size", "1", "--json")
    process = subprocess.Popen(arguments, cwd=folder, env=environment(), stdout=subprocess.PIPE, stderr=subprocess.PIPE)
    assert process.stdout is not None
    assert process.stderr is not None
    assert json.loads(process.stdout.readline())["prediction"] == "ROW 0"
    process.stdout.close()
    assert process.wait(timeout=30) == 1
    assert process.stderr.read() == b""
    process.stderr.close()


def test_redirected_output_is_json_without_escapes_and_silence_besides(folder: Path) -> None:
    arguments = command("run", "shout.yaml", "--json", "--input", "in.txt")
    done = subprocess.run(arguments, cwd=folder, env=environment(), capture_output=True, check=True)
    assert done.stderr == b""
    assert b"\x1b" not in done.stdout
    assert len([json.loads(line) for line in done.stdout.splitlines()]) == 400


def test_rows_are_read_only_as_they_are_needed() -> None:
    stream = io.BytesIO(b"".join(b"row %d\n" % i for i in range(100_000)))
    task = Task(name="x", labels=("a", "b"), input="{text}")
    batches = answer_rows(task, FakeBackend(), read_rows(stream, "txt", task.variables, None), 10)
    for _ in range(3):
        next(batches)
    assert stream.tell() == len(b"".join(b"row %d\n" % i for i in range(30)))


# The same over a model that keeps nothing, with the most memory the process ever had as the last line on stderr.
# VmHWM is the process's own; what getrusage gives a child includes its parent from before the exec.
MEASURED = """
import pathlib, sys
from handful.cli import run
from handful.cli.main import main
from tests.fakes import FakeBackend

class Forgetful(FakeBackend):
    def _admit(self, prompt, num_new_tokens):
        self.prompts.clear()
        return super()._admit(prompt, num_new_tokens)

run.open_backend = lambda name, **options: Forgetful(context_length=100_000)
try:
    main()
finally:
    print(pathlib.Path("/proc/self/status").read_text().split("VmHWM:")[1].split()[0], file=sys.stderr)
"""


@pytest.mark.parametrize("to_file", [False, True])
def test_ten_thousand_rows_take_no_more_memory_than_five_hundred(folder: Path, to_file: bool) -> None:
    most_kb = {}
    for count in (500, 10_000):
        source, output = folder / f"{count}.txt", folder / f"{count}.jsonl"
        source.write_text("".join(f"{i} {'x' * 5000}\n" for i in range(count)))  # 50 MB in, more out
        target = ["--output", str(output)] if to_file else ["--json"]
        arguments = [sys.executable, "-c", MEASURED, "run", "shout.yaml", "--input", str(source), "--quiet", *target]
        with (folder / "out").open("wb") as out:
            done = subprocess.run(
                arguments, cwd=folder, env=environment(), stdout=out, stderr=subprocess.PIPE, check=False
            )
        assert done.returncode == 0, done.stderr
        assert (output if to_file else folder / "out").read_bytes().count(b"\n") == count
        most_kb[count] = int(done.stderr.split()[-1])
    assert most_kb[10_000] - most_kb[500] < 10_000

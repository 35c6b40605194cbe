"""Standard streams that are closed, full, or of another encoding: commands end in results or one line."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[3]

# The command line over a model without weights.
PROGRAM = """
from handful.cli import run
from handful.cli.main import main
from tests.fakes import FakeBackend, shout_last_input

run.open_backend = lambda name, **options: FakeBackend(answer=shout_last_input)
main()
"""


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "shout.yaml").write_text("name: shout\ninput: 'Say: {text}'\nparameters: {max_new_tokens: 30}\n")
    (tmp_path / "in.txt").write_text("".join(f"row {i}\n" for i in range(400)))
    return tmp_path


def shell(folder: Path, line: str, **environment: str) -> subprocess.CompletedProcess[bytes]:
    """Run a line of the shell in `folder`, in which `handful` is the program above."""
    (folder / "program.py").write_text(PROGRAM)
    path = os.pathsep.join([str(ROOT / "src"), str(ROOT)])
    return subprocess.run(
        ["/bin/sh", "-c", line.replace("handful", f"{sys.executable} program.py")],
        cwd=folder,
        env={**os.environ, "PYTHONPATH": path, **environment},
        capture_output=True,
        check=False,
        timeout=60,
    )


def test_closed_standard_input_has_no_rows(folder: Path) -> None:
    done = shell(folder, "handful run shout.yaml <&-")
    assert (done.returncode, done.stdout) == (0, b"")
    assert done.stderr.startswith(b"warning: there are no rows")


def test_with_all_streams_closed_a_file_is_written_and_nothing_gets_into_it(folder: Path) -> None:
    done = shell(folder, "handful run shout.yaml --input in.txt --output out.jsonl <&- >&- 2>&-")
    assert done.returncode == 0
    assert len([json.loads(line) for line in (folder / "out.jsonl").read_text().splitlines()]) == 400


@pytest.mark.parametrize("arguments", ["run shout.yaml hello", "run shout.yaml --json --input in.txt", "--help"])
def test_standard_output_on_a_full_disk_is_one_line(folder: Path, arguments: str) -> None:
    done = shell(folder, f"handful {arguments} > /dev/full")
    assert (done.returncode, done.stderr) == (1, b"error: Reading or writing failed: No space left on device.\n")


def test_an_output_file_that_may_not_grow_keeps_its_records_and_continues(folder: Path) -> None:
    command = "handful run shout.yaml --quiet --input in.txt --output out.jsonl"
    done = shell(folder, f"ulimit -f 20; {command}")  # blocks of 512 bytes
    told = (
        b"error: The output out.jsonl can't be written: File too large. Make room; then the same command continues.\n"
    )
    assert (done.returncode, done.stderr) == (1, told)
    assert 0 < (folder / "out.jsonl").stat().st_size <= 20 * 1024
    assert shell(folder, command).returncode == 0
    assert [json.loads(line)["input"] for line in (folder / "out.jsonl").read_text().splitlines()] == [
        f"row {i}" for i in range(400)
    ]


def test_a_folder_that_can_not_hold_the_file_beside_the_output_is_named(folder: Path) -> None:
    (folder / "out.jsonl.run.json.part").mkdir()
    done = shell(folder, "handful run shout.yaml hello --output out.jsonl")
    told = b"error: The output out.jsonl can't be written: Is a directory. Choose another --output.\n"
    assert (done.returncode, done.stderr) == (1, told)


@pytest.mark.parametrize("encoding", ["ascii", "latin-1", "utf-16"])
@pytest.mark.parametrize("option", ["", "--json"])
def test_programs_read_utf8_whatever_the_locale(folder: Path, encoding: str, option: str) -> None:
    done = shell(folder, f"handful run shout.yaml {option} 'žluť … 日本'", PYTHONIOENCODING=encoding)
    assert (done.returncode, done.stderr) == (0, b"")
    assert "ŽLUŤ … 日本" in done.stdout.decode()

"""Progress: on a terminal's standard error only, silenced by one option, and never among the results."""

import json
import os
import pty
import subprocess
import threading
from pathlib import Path

import pytest

from tests.unit.cli.test_run_process import TASK, command, environment


def run(folder: Path, *arguments: str, term: str = "xterm") -> tuple[bytes, bytes]:
    """Standard output, a pipe, and what appeared on the terminal that standard error is."""
    ours, theirs = pty.openpty()
    appeared: list[bytes] = []

    def watch() -> None:
        try:
            while part := os.read(ours, 4096):
                appeared.append(part)
        except OSError:  # how Linux says that the other side has closed
            pass

    watcher = threading.Thread(target=watch)
    watcher.start()
    more = environment() | {"TERM": term}
    done = subprocess.run(
        command("run", "shout.yaml", "--input", "in.txt", *arguments),
        cwd=folder,
        env=more,
        stdout=subprocess.PIPE,
        stderr=theirs,
        check=True,
    )
    os.close(theirs)
    watcher.join(10)
    os.close(ours)
    return done.stdout, b"".join(appeared)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "shout.yaml").write_text(TASK)
    (tmp_path / "in.txt").write_text("".join(f"row {i}\n" for i in range(200)))
    return tmp_path


def test_it_is_on_the_terminal_and_not_among_the_results(folder: Path) -> None:
    out, terminal = run(folder, "--json")
    assert b" rows" in terminal
    assert b"\x1b" not in out
    assert len([json.loads(line) for line in out.splitlines()]) == 200


def test_it_is_there_when_results_go_to_a_file(folder: Path) -> None:
    out, terminal = run(folder, "--output", "out.jsonl")
    assert out == b""
    assert b" rows" in terminal
    assert b"out.jsonl: 200 records, complete." in terminal


def test_quiet_silences_it(folder: Path) -> None:
    out, terminal = run(folder, "--json", "--quiet")
    assert len(out.splitlines()) == 200
    assert terminal == b""


def test_a_dumb_terminal_gets_no_escapes(folder: Path) -> None:
    _, terminal = run(folder, "--json", term="dumb")
    assert b"\x1b" not in terminal

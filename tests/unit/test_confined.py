"""Processes for what isn't trusted: what they know, what they may take, and how they are read."""

import os
import resource
import subprocess
import sys
from pathlib import Path

import pytest

from handful import confined

_BOUNDED = "import resource; from handful.confined import limit, NOTHING_WRITTEN; "


def bounded(code: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-c", _BOUNDED + code], capture_output=True, text=True, check=False, timeout=60
    )


def reading(code: str) -> subprocess.Popen[bytes]:
    return subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE)


def test_it_is_told_nothing_of_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HF_TOKEN", "canary-secret")
    process = confined.start("handful.protocol.chat_worker")
    try:
        confined.read_lines(process, 30, 100)
        told = Path(f"/proc/{process.pid}/environ").read_bytes()
        assert b"canary-secret" not in told
        assert os.environ["PATH"].encode() not in told
    finally:
        confined.end(process)


def test_it_writes_no_file(tmp_path: Path) -> None:
    path = tmp_path / "written"
    done = bounded(f"limit(NOTHING_WRITTEN); import pathlib; pathlib.Path({str(path)!r}).write_bytes(b'x')")
    assert (done.returncode, "OSError" in done.stderr, path.stat().st_size) == (1, True, 0)


def test_it_takes_no_more_memory_than_it_may() -> None:
    done = bounded("limit({resource.RLIMIT_AS: 1 << 30}); bytearray(2 << 30)")
    assert "MemoryError" in done.stderr


def test_past_its_time_the_system_says_so() -> None:
    assert bounded("limit({resource.RLIMIT_CPU: 1})\nwhile True: pass").returncode == -24  # SIGXCPU


def test_a_lower_limit_of_the_system_stays() -> None:
    done = bounded(
        "resource.setrlimit(resource.RLIMIT_CPU, (5, 5)); limit({resource.RLIMIT_CPU: 9}); "
        "print(resource.getrlimit(resource.RLIMIT_CPU))"
    )
    assert done.stdout == "(5, 5)\n"
    assert resource.getrlimit(resource.RLIMIT_CPU)[1] != 5


@pytest.mark.parametrize(
    ("code", "problem"),
    [
        ("import time; time.sleep(60)", TimeoutError),
        ("print('half', end='', flush=True); import time; time.sleep(60)", TimeoutError),
        ("print('half', end='')", EOFError),
        ("print('x' * 5000)", EOFError),
    ],
)
def test_who_says_nothing_half_or_too_much_is_not_waited_for(code: str, problem: type[Exception]) -> None:
    process = reading(code)
    try:
        with pytest.raises(problem):
            confined.read_lines(process, 0.5 if problem is TimeoutError else 30, 1000)
    finally:
        confined.end(process)


def test_lines_are_read_as_they_come() -> None:
    process = reading("print('one', flush=True); input(); print('two')")
    assert confined.read_lines(process, 30, 1000) == b"one\n"
    confined.end(process)
    assert process.returncode is not None

"""What a process holds, and the judgement over it."""

import os
import subprocess
import sys
import threading
from contextlib import ExitStack
from pathlib import Path

import pytest

from held import Held, grown, grown_memory, held_by, memory_mb, metric

METRICS = "# HELP handful_kv_slots_held x\nhandful_kv_slots_held 12.0\na 1.0\nb 2.5\n"


def now() -> Held:
    return held_by(os.getpid(), METRICS)


def test_open_files_are_counted(tmp_path: Path) -> None:
    before = now()
    with ExitStack() as stack:
        for number in range(5):
            stack.enter_context((tmp_path / str(number)).open("wb"))
        assert now().files == before.files + 5
    assert now().files == before.files


def test_threads_are_counted() -> None:
    before, end = now(), threading.Event()
    threads = [threading.Thread(target=end.wait) for _ in range(3)]
    for thread in threads:
        thread.start()
    assert now().threads == before.threads + 3
    end.set()
    for thread in threads:
        thread.join()


def test_processes_that_it_started_are_its_own() -> None:
    before = now()
    with subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE):
        during = now()
    assert (during.threads, during.files >= before.files + 3) == (before.threads + 1, True)


def test_memory_is_what_was_written_to() -> None:
    before = memory_mb(os.getpid())
    kept = bytearray(os.urandom(1 << 20) * 64)
    assert 50 < memory_mb(os.getpid()) - before < 150
    assert len(kept) == 64 << 20


def test_figures_are_read_and_must_be_there() -> None:
    assert (now().kv_tokens, metric(METRICS, "a", "b")) == (12, 3.5)
    with pytest.raises(KeyError):
        metric(METRICS, "c")


def test_what_stays_as_it_is_passes() -> None:
    held = Held(files=40, threads=20, kv_tokens=0)
    assert grown(held, held) == []
    assert grown(held, Held(files=42, threads=22, kv_tokens=0)) == []
    assert grown(held, Held(files=4, threads=2, kv_tokens=0)) == []


@pytest.mark.parametrize(
    ("after", "says"),
    [
        (Held(files=45, threads=20, kv_tokens=0), "files grew from 40 to 45"),
        (Held(files=40, threads=23, kv_tokens=0), "threads grew from 20 to 23"),
        (Held(files=40, threads=20, kv_tokens=1), "kv_tokens grew from 0 to 1"),
    ],
)
def test_a_planted_leak_is_told(after: Held, says: str) -> None:
    assert grown(Held(files=40, threads=20, kv_tokens=0), after) == [says]


def test_memory_that_grows_is_told_and_noise_is_not() -> None:
    figures, told = grown_memory([400.0 + second / 2 for second in range(120)])
    assert told == [f"memory grew from {figures['after_warm_up']} to {figures['at_the_end']} MB"]
    assert grown_memory([500.0, 515.0, 495.0] * 20)[1] == []


def test_the_least_of_several_readings_counts() -> None:
    assert Held(1, 5, 3).least(Held(2, 4, 3)) == Held(1, 4, 3)

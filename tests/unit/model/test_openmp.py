"""Threads of the OpenMP runtime, counted in a process of their own."""

import subprocess
import sys

import pytest

from handful.model.ops.native.openmp import openmp

COUNT = """
import os, torch
from handful.model.ops.native.openmp import release_workers

def threads():
    return len(os.listdir("/proc/self/task"))

torch.set_num_threads(3)
before = threads()
x = torch.ones(1_000_000)
x.exp()
working = threads()
release_workers()
released = threads()
assert torch.equal(x.exp().log().round(), x)
print(working - before, released - before, threads() - before)
"""


@pytest.mark.skipif(not sys.platform.startswith("linux") or openmp() is None, reason="counts threads in Linux's /proc")
def test_workers_end_when_they_are_released_and_come_back_with_the_next_work() -> None:
    found = subprocess.run([sys.executable, "-c", COUNT], capture_output=True, text=True, check=True)
    assert found.stdout.split() == ["2", "0", "2"]

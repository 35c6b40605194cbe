"""Kernels on helpers of their own, each test in a process or thread of its own: what is set holds for a thread."""

import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from typing import TypeVar

import pytest
import torch
from torch import Tensor

from handful.model.ops.linear_int8 import NativeInt8
from handful.model.ops.native.linear import can_multiply
from handful.model.ops.native.threads import num_threads, use_helpers

Found = TypeVar("Found")

pytestmark = pytest.mark.skipif(not can_multiply(torch.int8), reason="the native library isn't built here")

COUNT = """
import os, torch
from handful.model.ops.linear_int8 import NativeInt8
from handful.model.ops.native.threads import use_helpers

def threads():
    return len(os.listdir("/proc/self/task"))

torch.set_num_threads(3)
linear, x = NativeInt8(torch.ones(640, 64)), torch.ones(500, 64)
use_helpers()
before = threads()
torch.ones(1_000_000).exp()
alone = threads() - before
wanted = linear(x)
helped = threads() - before
if os.fork() == 0:
    assert torch.equal(linear(x), wanted)
    os._exit(10 + threads())
print(alone, helped, os.waitstatus_to_exitcode(os.wait()[1]))
"""


def in_a_thread(function: Callable[[], Found]) -> Found:
    """What `function` returns on a thread of its own."""
    found: list[Found] = []
    thread = threading.Thread(target=lambda: found.append(function()))
    thread.start()
    thread.join()
    return found[0]


def with_helpers(function: Callable[[], Found]) -> Callable[[], Found]:
    def run() -> Found:
        use_helpers()
        return function()

    return run


@pytest.fixture
def three_threads() -> Iterator[None]:
    before = torch.get_num_threads()
    torch.set_num_threads(3)
    yield
    torch.set_num_threads(before)


@pytest.mark.usefixtures("three_threads")
def test_kernels_keep_their_threads_and_torch_gets_one() -> None:
    assert in_a_thread(with_helpers(lambda: (num_threads(), torch.get_num_threads()))) == (3, 1)


@pytest.mark.usefixtures("three_threads")
def test_other_threads_stay_as_they_are() -> None:
    in_a_thread(use_helpers)
    assert (num_threads(), torch.get_num_threads()) == (3, 3)


@pytest.mark.usefixtures("three_threads")
@pytest.mark.parametrize("rows", [1, 7, 33, 700])
def test_helpers_compute_the_same_bits(rows: int) -> None:
    linear, x = NativeInt8(torch.randn(640, 96)), torch.randn(rows, 96)
    assert torch.equal(in_a_thread(with_helpers(lambda: linear(x))), linear(x))


@pytest.mark.usefixtures("three_threads")
def test_many_threads_at_once_share_the_helpers() -> None:
    linear, x = NativeInt8(torch.randn(320, 64)), torch.randn(100, 64)
    wanted, found = linear(x), list[Tensor]()

    def compute() -> None:
        use_helpers()
        for _ in range(200):
            found.append(linear(x))

    threads = [threading.Thread(target=compute) for _ in range(5)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(found) == 1000
    assert all(torch.equal(one, wanted) for one in found)


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="counts threads in Linux's /proc")
def test_helpers_come_with_the_first_work_and_again_in_the_child_of_a_fork() -> None:
    found = subprocess.run([sys.executable, "-W", "ignore", "-c", COUNT], capture_output=True, text=True, check=True)
    assert found.stdout.split() == ["0", "2", "13"]

"""Processes for what isn't trusted: they get no secrets, are bounded by the system, and say little.

What such a process is for is a `main` in a module of its own, which bounds itself (`limit`) before it looks at
anything. Whoever starts one reads its answers with a deadline and ends it.
"""

import os
import resource
import select
import subprocess
import sys
import time
from collections.abc import Mapping

NOTHING_WRITTEN = {resource.RLIMIT_FSIZE: 0, resource.RLIMIT_CORE: 0, resource.RLIMIT_NPROC: 0}
"""No file is written, no process and no thread started."""
_ONE_THREAD = ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS", "RAYON_NUM_THREADS")


def start(module: str, *arguments: str) -> subprocess.Popen[bytes]:
    """Run `main` of a module of handful's in a process of its own; its input and output are pipes."""
    # Where Python finds handful, and nothing else of this process's environment, which may hold secrets.
    environment = {"PYTHONPATH": os.pathsep.join(filter(None, sys.path)), "PYTHONDONTWRITEBYTECODE": "1"}
    return subprocess.Popen(
        [sys.executable, "-P", "-c", f"from {module} import main; main()", *arguments],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        env=environment | dict.fromkeys(_ONE_THREAD, "1"),
        bufsize=0,
        start_new_session=True,  # Ctrl-C in this process's terminal is not for it
    )


def limit(bounds: Mapping[int, int]) -> None:
    """Bound what this process can do from now on: `resource.RLIMIT_...` -> most."""
    for name, value in bounds.items():
        # A limit can only be lowered. Past the first of two numbers of seconds comes a signal that says so.
        _, hard = resource.getrlimit(name)
        most = value + (name == resource.RLIMIT_CPU)
        most = most if hard == resource.RLIM_INFINITY else min(most, hard)
        resource.setrlimit(name, (min(value, most), most))


def read_lines(process: subprocess.Popen[bytes], timeout_s: float, max_bytes: int) -> bytes:
    """Output of a process up to the end of a line. Raises TimeoutError, EOFError where it ended or says too much."""
    if process.stdout is None:
        raise EOFError
    ends_at = time.monotonic() + timeout_s
    poll = select.poll()
    poll.register(process.stdout, select.POLLIN)
    said = bytearray()
    while not said.endswith(b"\n"):
        left_ms = max(0.0, ends_at - time.monotonic()) * 1000
        if not poll.poll(left_ms):
            raise TimeoutError
        piece = os.read(process.stdout.fileno(), 1 << 20)
        said += piece
        if not piece or len(said) > max_bytes:
            raise EOFError
    return bytes(said)


def end(process: subprocess.Popen[bytes]) -> None:
    """Kill a process, if it still runs, and close its pipes."""
    process.kill()
    process.wait()
    for pipe in (process.stdin, process.stdout):
        if pipe is not None:
            pipe.close()

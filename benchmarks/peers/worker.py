"""An engine's process, seen from the benchmark: started, stopped between its rounds, asked."""

import json
import os
import signal
import subprocess
from contextlib import suppress
from dataclasses import asdict
from pathlib import Path
from typing import Any

from peers.engines import CannotRun, Launch
from peers.pipe import Round

END_TIMEOUT_S = 20
BENCHMARKS = Path(__file__).parent.parent


class Worker:
    """A process that does rounds. Between them it is stopped, so that no thread of it takes the others' time."""

    def __init__(self, launch: Launch, folder: Path) -> None:
        self.name = launch.name
        self.log = folder / "log" / f"{launch.name}.txt"
        self.log.parent.mkdir(parents=True, exist_ok=True)
        with self.log.open("w") as log:
            self.process = subprocess.Popen(
                launch.command,
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=log,
                text=True,
                cwd=BENCHMARKS,
                env=dict(os.environ) | launch.environment,
                start_new_session=True,
            )
        ready = self._read()
        self.version, self.load_seconds = str(ready["ready"]), float(ready["load_seconds"])
        self._signal(signal.SIGSTOP)

    def run(self, work: Round, *, forget: bool = True) -> tuple[list[float], list[list[int]]]:
        """Do a round; its seconds and tokens. Raises CannotRun when the process ended."""
        self._signal(signal.SIGCONT)
        if self.process.stdin is None:
            raise CannotRun("has no input")
        try:
            self.process.stdin.write(json.dumps({"forget": forget, "round": asdict(work)}) + "\n")
            self.process.stdin.flush()
        except BrokenPipeError:
            self.close()
            raise CannotRun(f"ended; see {self.log}") from None
        answer = self._read()
        self._signal(signal.SIGSTOP)
        return answer["seconds"], answer["tokens"]

    def peak_mb(self) -> int:
        """Peak resident memory of the process and its children, in MB (Linux counts in KiB)."""
        total = 0
        for folder in Path("/proc").glob("[0-9]*"):
            with suppress(OSError, ProcessLookupError):
                if os.getpgid(int(folder.name)) == self.process.pid:
                    total += _peak_kib(folder / "status")
        return round(total * 1024 / 1e6)

    def close(self) -> None:
        """End the process and whatever it started."""
        self._signal(signal.SIGCONT)
        if self.process.stdin is not None:
            with suppress(BrokenPipeError):
                self.process.stdin.close()
        with suppress(subprocess.TimeoutExpired):
            self.process.wait(END_TIMEOUT_S)
        self._signal(signal.SIGKILL)
        self.process.wait()
        if self.process.stdout is not None:
            self.process.stdout.close()

    def _read(self) -> dict[str, Any]:
        line = self.process.stdout.readline() if self.process.stdout is not None else ""
        if not line:
            self.close()
            raise CannotRun(f"ended; see {self.log}")
        found: dict[str, Any] = json.loads(line)
        return found

    def _signal(self, number: int) -> None:
        with suppress(ProcessLookupError):
            os.killpg(self.process.pid, number)


def _peak_kib(status: Path) -> int:
    lines = [line for line in status.read_text().splitlines() if line.startswith("VmHWM:")]
    return int(lines[0].split()[1]) if lines else 0

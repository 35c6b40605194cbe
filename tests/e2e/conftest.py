"""Real servers: `handful serve` as a process on a free port, with the embedded default model."""

import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

import httpx
import pytest

import handful
from handful.backend import Backend

EXAMPLES = Path(__file__).parents[2] / "examples"
HANDFUL = [sys.executable, "-c", "from handful.cli.main import main; main()"]
# One thread: on a machine that also does other things, two that wait for each other take many times as long.
# No kept answers: what is asked twice is to be computed twice.
SETTINGS = {"HANDFUL_KV_MEMORY_MB": "512", "HANDFUL_THREADS": "1", "HANDFUL_RESPONSE_CACHE_MB": "0"}
START_S = 300  # the first start downloads and converts the default model


@dataclass
class Server:
    """A running server. `log` has what it said on stderr so far."""

    process: subprocess.Popen[str]
    url: str
    log: list[str] = field(default_factory=list)

    @property
    def model_url(self) -> str:
        """Where the default model answers."""
        return f"{self.url}/models/default"

    def terminate(self) -> None:
        """Send SIGTERM."""
        self.process.send_signal(signal.SIGTERM)

    def exit_code(self, timeout_s: float = 20) -> int:
        """Wait for the process to end."""
        return self.process.wait(timeout_s)


@contextmanager
def serving(*arguments: str, **settings: str) -> Iterator[Server]:
    """Start a server with `HANDFUL_<SETTING>` set, wait until it is ready, and stop it at the end."""
    environment = os.environ | SETTINGS | {f"HANDFUL_{key}": value for key, value in settings.items()}
    command = [*HANDFUL, "serve", "--port", "0", *arguments]
    with subprocess.Popen(
        command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env=environment
    ) as process:
        try:
            assert process.stdout is not None
            assert process.stderr is not None
            server = Server(process, process.stdout.readline().rpartition(" ")[2].strip())
            for stream, kept in ((process.stdout, []), (process.stderr, server.log)):
                threading.Thread(target=kept.extend, args=(stream,), daemon=True).start()
            _wait_until_ready(server)
            yield server
        finally:
            process.kill()


def _wait_until_ready(server: Server) -> None:
    deadline = time.monotonic() + START_S
    while time.monotonic() < deadline:
        assert server.process.poll() is None, "".join(server.log)
        if server.url and httpx.get(f"{server.url}/ready", timeout=30).status_code == 200:
            return
        time.sleep(0.1)
    raise TimeoutError("the server was not ready in time")


@pytest.fixture(scope="session")
def server() -> Iterator[Server]:
    """A server in float32, where an answer doesn't depend on what else runs, with two tasks."""
    tasks = [f"--task={EXAMPLES / name}" for name in ("sentiment.yaml", "translation.yaml")]
    with serving("--precision=float32", *tasks, MAX_BODY_MB="1", MAX_INPUT_CHARACTERS="90000") as running:
        yield running


@pytest.fixture(scope="session")
def small_server() -> Iterator[Server]:
    """A server with room for two running and two waiting requests."""
    with serving(MAX_RUNNING_REQUESTS="2", MAX_QUEUED_REQUESTS="2") as running:
        yield running


@pytest.fixture(scope="session")
def default_model() -> Iterator[Backend]:
    """The default model in this process, in float32."""
    model = handful.load("default", precision="float32")
    yield model
    model.close()

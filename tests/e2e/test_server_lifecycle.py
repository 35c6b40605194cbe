"""A server's places, its clients that leave, and its end."""

import json
import signal
import socket
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from urllib.parse import urlsplit

import httpx
import pytest

from tests.e2e.conftest import HANDFUL, Server, serving


def body(*, stream: bool = False, tokens: int = 4000) -> bytes:
    parameters = {"max_new_tokens": tokens, "min_new_tokens": tokens}
    return json.dumps({"inputs": "Once upon a time", "parameters": parameters, "stream": stream}).encode()


@contextmanager
def asking(server: Server, content: bytes) -> Iterator[socket.socket]:
    """A request on a connection of its own, closed at the end whether it was answered or not."""
    address = urlsplit(server.url)
    head = f"POST /models/default HTTP/1.1\r\nhost: localhost\r\ncontent-length: {len(content)}\r\n\r\n"
    with socket.create_connection((address.hostname, address.port), timeout=30) as connection:
        connection.sendall(head.encode() + content)
        yield connection


def probe(server: Server) -> httpx.Response | None:
    """The answer to one more short request; None where it has to wait (it is given up then)."""
    try:
        return httpx.post(server.model_url, content=body(tokens=1), timeout=1)
    except httpx.ReadTimeout:
        return None


def wait_for(server: Server, status: int, timeout_s: float = 30) -> httpx.Response:
    """The first answer of `status` that one more request gets."""
    deadline = time.monotonic() + timeout_s
    while time.monotonic() < deadline:
        response = probe(server)
        if response is not None and response.status_code == status:
            return response
        time.sleep(0.05)
    raise TimeoutError(f"no answer of status {status}")


@pytest.mark.parametrize("stream", [False, True])
def test_past_the_queue_it_is_429_and_clients_that_leave_free_their_places(small_server: Server, stream: bool) -> None:
    """Two of the four run and two wait when they leave. Each would hold its place for minutes."""
    with asking(small_server, body(stream=True)) as first, asking(small_server, body(stream=True)) as second:
        assert first.recv(4096).startswith(b"HTTP/1.1 200")
        assert second.recv(4096).startswith(b"HTTP/1.1 200")
        with asking(small_server, body(stream=stream)), asking(small_server, body(stream=stream)):
            refused = wait_for(small_server, 429)
            assert int(refused.headers["retry-after"]) >= 1
            assert httpx.get(f"{small_server.url}/health").status_code == 200
    wait_for(small_server, 200)


def test_leaving_in_the_middle_of_a_stream_frees_its_place(small_server: Server) -> None:
    for _ in range(6):
        with asking(small_server, body(stream=True)) as connection:
            assert connection.recv(4096).startswith(b"HTTP/1.1 200")
    wait_for(small_server, 200)


def read_to_the_end(connection: socket.socket) -> bytes:
    connection.settimeout(120)
    parts = []
    while part := connection.recv(65536):
        parts.append(part)
    return b"".join(parts)


def test_sigterm_finishes_what_was_accepted_and_refuses_what_is_new() -> None:
    with serving(DRAIN_TIMEOUT_S="200") as server:
        content = body(stream=True, tokens=100)
        with asking(server, content) as stream, asking(server, body(tokens=100)) as whole:
            assert stream.recv(4096).startswith(b"HTTP/1.1 200")
            server.terminate()
            wait_for(server, 503)
            assert httpx.get(f"{server.url}/ready").status_code == 503
            assert b'"finish_reason":"length","generated_tokens":100' in read_to_the_end(stream)
            assert read_to_the_end(whole).startswith(b"HTTP/1.1 200")
        assert server.exit_code() == 0


def test_what_is_left_at_the_drains_end_is_told_and_the_process_exits_0() -> None:
    with serving(DRAIN_TIMEOUT_S="0.5") as server:
        with asking(server, body(stream=True)) as stream, asking(server, body()) as whole:
            assert stream.recv(4096).startswith(b"HTTP/1.1 200")
            started = time.monotonic()
            server.terminate()
            events = read_to_the_end(stream)
            assert events.count(b'"error"') == 1
            assert b'"generated_text":"' not in events
            assert read_to_the_end(whole).startswith(b"HTTP/1.1 503")
            assert server.exit_code() == 0
        assert time.monotonic() - started < 5.5


def test_a_second_ctrl_c_ends_it_at_once_and_everybody_is_told() -> None:
    with serving(DRAIN_TIMEOUT_S="200") as server:
        with asking(server, body(stream=True)) as stream, asking(server, body()) as whole:
            assert stream.recv(4096).startswith(b"HTTP/1.1 200")
            server.process.send_signal(signal.SIGINT)
            wait_for(server, 503)
            server.process.send_signal(signal.SIGINT)
            assert read_to_the_end(stream).count(b'"error"') == 1
            assert read_to_the_end(whole).startswith(b"HTTP/1.1 503")
            assert server.exit_code() == 0
        assert any("again to stop at once" in line for line in server.log)
        assert not any("Traceback" in line or "Error" in line for line in server.log)


@pytest.mark.parametrize("seconds", [0.0, 1.0])
def test_sigterm_while_a_model_loads_exits_0(seconds: float) -> None:
    with subprocess.Popen(
        [*HANDFUL, "serve", "--port", "0"], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    ) as process:
        assert process.stdout is not None
        url = process.stdout.readline().rpartition(" ")[2].strip()
        httpx.get(f"{url}/health", timeout=30)  # answered once the signal handlers are there
        time.sleep(seconds)
        process.terminate()
        assert process.wait(30) == 0


def run_serve(*arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run([*HANDFUL, "serve", *arguments], capture_output=True, text=True, timeout=60, check=False)


def test_a_port_in_use_is_one_line(server: Server) -> None:
    ended = run_serve("--port", str(urlsplit(server.url).port))
    assert ended.returncode == 1
    assert "in use" in ended.stderr
    assert "Traceback" not in ended.stderr


def test_a_model_that_cannot_be_loaded_ends_the_server_with_one_line(tmp_path: Path) -> None:
    (tmp_path / "broken").mkdir()
    ended = run_serve("--port", "0", "--model", str(tmp_path / "broken"))
    assert ended.returncode == 1
    assert [line for line in ended.stderr.splitlines() if line.startswith("error: ")]
    assert "Traceback" not in ended.stderr


@pytest.mark.parametrize("arguments", [("--task", "missing.yaml"), ("--model", "./missing"), ("--model", "a b")])
def test_a_wrong_name_is_one_line_before_anything_is_loaded(arguments: tuple[str, str]) -> None:
    ended = run_serve("--port", "0", *arguments)
    assert (ended.returncode, ended.stdout) == (1, "")
    assert len(ended.stderr.strip().splitlines()) == 1

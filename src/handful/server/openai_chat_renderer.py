"""Chat templates are rendered by other processes, so that none can hold the server up, fill its memory or reach it.

Each template has a process of its own (`protocol/chat_worker.py`), started when it is first used and kept; one that
doesn't answer in time is killed, and the next request gets a new one. Threads of their own wait for the processes, so a
template that takes long keeps only other chats waiting.
"""

import asyncio
import json
import os
import select
import subprocess
import sys
import threading
import time
from collections import OrderedDict
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor

from handful.errors import EngineError, InvalidInputError
from handful.types import ChatTemplate

START_TIMEOUT_S = 30.0
RENDER_TIMEOUT_S = 5.0
MAX_WORKERS = 4
_MAX_ANSWER_BYTES = 64 * 1024 * 1024
_COMMAND = "from handful.protocol.chat_worker import main; main()"


class TemplateWorker:
    """One template's process. Thread-safe: requests take turns."""

    def __init__(self, template: ChatTemplate, timeout_s: float = RENDER_TIMEOUT_S) -> None:
        self._template, self._timeout_s = template, timeout_s
        self._process: subprocess.Popen[bytes] | None = None
        self._lock = threading.Lock()
        self._is_closed = False

    def render(self, messages: Sequence[Mapping[str, str]]) -> str:
        """The prompt. Raises InvalidInputError with the template's own reason, or where it takes too long."""
        asked = {
            "template": self._template.source,
            "messages": list(messages),
            "special_tokens": dict(self._template.special_tokens),
        }
        with self._lock:
            answer = self._exchange(json.dumps(asked).encode() + b"\n")
            if self._is_closed:  # while this waited for its turn
                self._kill()
        said = json.loads(answer)
        if "error" in said:
            raise InvalidInputError(said["error"], fix="Send messages that the template takes, or use /v1/completions.")
        return str(said["prompt"])

    def close(self) -> None:
        """End the process."""
        self._is_closed = True
        with self._lock:
            self._kill()

    def _exchange(self, line: bytes) -> bytes:
        process = self._started()
        if process.stdin is None:
            raise EngineError("The chat template's process has no input.")
        try:
            process.stdin.write(line)
            process.stdin.flush()
            answer = _read_line(process, self._timeout_s)
        except TimeoutError:
            self._kill()
            problem = f"The model's chat template took longer than {self._timeout_s:g} seconds."
            raise InvalidInputError(problem, fix="Use /v1/completions with a prompt of your own.") from None
        except (OSError, EOFError):
            self._kill()
            raise InvalidInputError("The model's chat template ended the process that rendered it.") from None
        return answer

    def _started(self) -> subprocess.Popen[bytes]:
        if self._process is not None and self._process.poll() is None:
            return self._process
        self._kill()
        # Where Python finds handful, and nothing else of this process's environment, which may hold secrets.
        environment = {"PYTHONPATH": os.pathsep.join(filter(None, sys.path)), "PYTHONDONTWRITEBYTECODE": "1"}
        self._process = subprocess.Popen(
            [sys.executable, "-c", _COMMAND],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            env=environment,
            bufsize=0,
            start_new_session=True,  # Ctrl-C in the server's terminal is not for it
        )
        try:
            _read_line(self._process, START_TIMEOUT_S)
        except (OSError, EOFError, TimeoutError):
            self._kill()
            raise EngineError("The process that renders chat templates did not start.") from None
        return self._process

    def _kill(self) -> None:
        if self._process is not None:
            self._process.kill()
            self._process.wait()
            for pipe in (self._process.stdin, self._process.stdout):
                if pipe is not None:
                    pipe.close()
            self._process = None


def _read_line(process: subprocess.Popen[bytes], timeout_s: float) -> bytes:
    """One line of a process's output. Raises TimeoutError, EOFError where it ended or says too much."""
    if process.stdout is None:
        raise EOFError
    ends_at = time.monotonic() + timeout_s
    poll = select.poll()
    poll.register(process.stdout, select.POLLIN)
    line = bytearray()
    while not line.endswith(b"\n"):
        left_ms = max(0.0, ends_at - time.monotonic()) * 1000
        if not poll.poll(left_ms):
            raise TimeoutError
        piece = os.read(process.stdout.fileno(), 1 << 20)
        line += piece
        if not piece or len(line) > _MAX_ANSWER_BYTES:
            raise EOFError
    return bytes(line)


class ChatRenderer:
    """The processes of all templates in use, at most `MAX_WORKERS`; the one unused for longest makes room."""

    def __init__(self, timeout_s: float = RENDER_TIMEOUT_S) -> None:
        self._timeout_s = timeout_s
        self._workers: OrderedDict[ChatTemplate, TemplateWorker] = OrderedDict()
        self._threads = ThreadPoolExecutor(MAX_WORKERS, thread_name_prefix="handful-chat")

    async def render(self, template: ChatTemplate, messages: Sequence[Mapping[str, str]]) -> str:
        """See `TemplateWorker.render`."""
        loop = asyncio.get_running_loop()
        worker = self._workers.get(template)
        if worker is None:
            worker = self._workers[template] = TemplateWorker(template, self._timeout_s)
        self._workers.move_to_end(template)
        if len(self._workers) > MAX_WORKERS:
            _, oldest = self._workers.popitem(last=False)
            loop.run_in_executor(self._threads, oldest.close)
        return await loop.run_in_executor(self._threads, worker.render, messages)

    def close(self) -> None:
        """End all processes and threads; waits for the one rendering that may be under way in each."""
        for worker in self._workers.values():
            worker.close()
        self._threads.shutdown(wait=True)

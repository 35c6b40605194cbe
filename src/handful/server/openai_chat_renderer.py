"""Chat templates are rendered by other processes, so that none can hold the server up, fill its memory or reach it.

Each template has a process of its own (`protocol/chat_worker.py`), started when it is first used and kept; one that
doesn't answer in time is killed, and the next request gets a new one. Threads of their own wait for the processes, so a
template that takes long keeps only other chats waiting.
"""

import asyncio
import json
import subprocess
import threading
from collections import OrderedDict
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor

from handful.confined import end, read_lines, start
from handful.errors import EngineError, InvalidInputError
from handful.types import ChatTemplate

START_TIMEOUT_S = 30.0
RENDER_TIMEOUT_S = 5.0
MAX_WORKERS = 4
_MAX_ANSWER_BYTES = 64 * 1024 * 1024


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
            answer = read_lines(process, self._timeout_s, _MAX_ANSWER_BYTES)
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
        self._process = start("handful.protocol.chat_worker")
        try:
            read_lines(self._process, START_TIMEOUT_S, _MAX_ANSWER_BYTES)
        except (OSError, EOFError, TimeoutError):
            self._kill()
            raise EngineError("The process that renders chat templates did not start.") from None
        return self._process

    def _kill(self) -> None:
        if self._process is not None:
            end(self._process)
            self._process = None


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

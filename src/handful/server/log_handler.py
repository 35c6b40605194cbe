"""Log lines to a stream: what is said in one turn of the event loop is one write.

A write lets go of the interpreter's lock, and an engine that computes takes it: a line for each of the requests that a
step has ended would stop the event loop as often, on the way to sending their answers.
"""

import asyncio
import logging
from typing import TextIO


class TurnHandler(logging.StreamHandler[TextIO]):
    """Writes what threads say at once, and what is said in an event loop when its turn ends. Nothing changes places."""

    def __init__(self, stream: TextIO) -> None:
        self._lines: list[str] = []  # before the base, which flushes
        super().__init__(stream)

    def emit(self, record: logging.LogRecord) -> None:
        """Say a record; called with the handler's lock held."""
        try:
            self._lines.append(self.format(record) + self.terminator)
        except Exception:  # noqa: BLE001 - as every handler does: a log line stops nobody
            return self.handleError(record)
        try:
            loop = asyncio.get_running_loop()
        except RuntimeError:
            return self.flush()
        if len(self._lines) == 1:
            loop.call_soon(self.flush)
        return None

    def flush(self) -> None:
        """Write what was said. A stream that is gone costs the lines and nothing else."""
        self.acquire()
        try:
            lines, self._lines = self._lines, []
            if lines:
                self._write("".join(lines))
        finally:
            self.release()

    def _write(self, text: str) -> None:
        try:
            self.stream.write(text)
            self.stream.flush()
        except Exception:  # noqa: BLE001 - see `emit`
            self.handleError(logging.makeLogRecord({"msg": "a log line could not be written"}))

"""A model's files are examined by a process of their own before this one opens them (`examination.py`).

What its readers can't stand ends that process, and is one error here. It is no wall against a file that takes its
reader over: that one passes, and this process reads it next.
"""

import json
import signal
import time
from contextlib import suppress
from pathlib import Path
from subprocess import TimeoutExpired

from handful.confined import end, read_lines, start
from handful.errors import CheckpointError, EngineError, HandfulError, NotFoundError
from handful.model.examination import PROCESSOR_S, TOO_LARGE, WALL_S
from handful.model.fingerprint import fingerprint

_MODULE = "handful.model.examination"
_PATIENCE_S = 10.0  # for the process to start, and to end itself
_ENDING_S = 5.0
_MAX_SAID_BYTES = 1 << 16
_MAX_REMEMBERED = 1024
_ERRORS: dict[str, type[HandfulError]] = {each.__name__: each for each in (CheckpointError, NotFoundError)}
_FIX = "Download it again, or take another model."
_passed: set[str] = set()


class Examination:
    """One model's files being examined. `wait` may be called once, `give_up` at any time, from any thread.

    `name` is what the model is called where something is wrong with it.
    """

    def __init__(self, path: Path, name: str) -> None:
        self._name = name
        self._process = start(_MODULE, str(path))

    def wait(self) -> None:
        """Raises CheckpointError or NotFoundError where the files can't be loaded, with what is wrong."""
        try:
            file, said = self._last_said()
            if not said:  # how it ended says why
                self._process.wait(_ENDING_S)
        except (TimeoutError, TimeoutExpired):
            raise CheckpointError(f"{self._name} takes more than {WALL_S} seconds to read.", fix=_FIX) from None
        finally:
            end(self._process)
        if "ok" in said:
            return
        if (error := _ERRORS.get(said.get("error", ""))) is not None:
            raise error(said.get("message", ""), fix=said.get("fix", ""))
        problem = said.get("problem") or _ended_by(self._process.returncode)
        if not file:
            raise EngineError(f"The process that examines models did not start ({problem}).")
        raise CheckpointError(f"{self._name} can't be read: {file} {problem}.", fix=_FIX)

    def give_up(self) -> None:
        """End it: `wait` raises then."""
        self._process.kill()

    def _last_said(self) -> tuple[str, dict[str, str]]:
        """The file that was read last, and the answer; none where the process ended before."""
        file, ends_at = "", time.monotonic() + WALL_S + _PATIENCE_S
        with suppress(EOFError):
            while True:
                left_s = ends_at - time.monotonic()
                for line in read_lines(self._process, left_s, _MAX_SAID_BYTES).splitlines():
                    said = _parsed(line)
                    if "file" not in said:
                        return file, said
                    file = said["file"]
        return file, {}


def examine(path: Path, name: str) -> None:
    """Examine the folder or GGUF file of the model `name`, unless this process has let it pass as it is now.

    Raises CheckpointError, NotFoundError.
    """
    state = _state_of(path)
    if state not in _passed:
        Examination(path, name).wait()
        if len(_passed) >= _MAX_REMEMBERED:
            _passed.clear()
        _passed.add(state)


def _state_of(path: Path) -> str:
    """The files as they are now, as far as a second look depends on it."""
    if path.is_file():
        found = path.stat()
        return f"{path}\0{found.st_size}\0{found.st_mtime_ns}"
    folders = [path, *sorted(path.glob("[0-9]_*/"))] if path.is_dir() else []
    return "\0".join([str(path), *(fingerprint(folder) for folder in folders)])


def _parsed(line: bytes) -> dict[str, str]:
    """A line of a process that a file may have taken over; empty for what isn't names and texts."""
    try:
        said = json.loads(line)
    except (ValueError, RecursionError):
        return {}
    is_as_agreed = isinstance(said, dict) and all(isinstance(value, str) for value in said.values())
    return said if is_as_agreed else {}


def _ended_by(returncode: int) -> str:
    """What an end without an answer means."""
    if returncode == -signal.SIGXCPU:
        return f"takes more than {PROCESSOR_S} seconds of the processor to read"
    if returncode == -signal.SIGALRM:
        return f"takes more than {WALL_S} seconds to read"
    if returncode == -signal.SIGKILL:
        return TOO_LARGE
    name = signal.Signals(-returncode).name if returncode < 0 else f"status {returncode}"
    return f"ended the process that read it ({name})"

"""Every error handful raises on purpose: one tree, split by who must act.

    HandfulError                     has a message, a `fix` (what to do next), and `retryable`
    ├── UserError                    what was asked can't be done: change the request
    │   ├── InvalidParameterError    one parameter is out of range or can't be honoured; `.parameter` names it
    │   ├── InvalidInputError        an input is empty, not text, or too large
    │   ├── PromptTooLongError       the prompt doesn't fit the model's context (counts in the message)
    │   ├── TaskError                a task file or value is malformed
    │   ├── NotFoundError            no such model, task or file
    │   ├── ConflictError            it has changed meanwhile, or the name is taken: read it again
    │   └── CheckpointError          a model's files are damaged, incomplete or of a kind that isn't read
    ├── BusyError                    the queue is full: retry after `.retry_after_s`
    ├── NotReadyError                the model is still loading or the process is shutting down: retry later
    ├── RequestTimeoutError          a deadline passed
    ├── RequestAbortedError          the caller (or a shutdown) gave the request up
    ├── RemoteError                  a server answered something a client can't use
    ├── StoreError                   the database can't be reached, read or written
    └── EngineError                  handful's own fault; the log has the traceback

Programmers' errors (TypeError, AssertionError, ...) are not translated: they pass through.
"""


class HandfulError(Exception):
    """Base of all errors that handful raises on purpose.

    `str(error)` is one line fit for a user; `fix` says what to do about it and may be empty.
    """

    retryable = False

    def __init__(self, message: str, *, fix: str = "") -> None:
        super().__init__(message)
        self.message = message
        self.fix = fix

    def __str__(self) -> str:
        return f"{self.message} {self.fix}".strip()


class UserError(HandfulError):
    """What was asked can't be done as asked."""


class InvalidParameterError(UserError):
    """A parameter is out of range, unknown, or can't be honoured. `parameter` is its name as the caller wrote it."""

    def __init__(self, parameter: str, problem: str, *, fix: str = "") -> None:
        super().__init__(f"`{parameter}` {problem}", fix=fix)
        self.parameter = parameter
        self.problem = problem


class InvalidInputError(UserError):
    """An input text is empty, not text, or larger than allowed."""


class PromptTooLongError(UserError):
    """A prompt (and the tokens asked for) doesn't fit the model's context or the cache."""


class TaskError(UserError):
    """A task file or task value is malformed."""


class NotFoundError(UserError):
    """No such model, task or file."""


class ConflictError(UserError):
    """What was to be changed has changed meanwhile, or a name is taken. Nothing was written."""


class CheckpointError(UserError):
    """A model's files are damaged, incomplete, or of a kind that handful does not read."""


class BusyError(HandfulError):
    """The queue is full. Nothing was accepted; retry after `retry_after_s` seconds."""

    retryable = True

    def __init__(self, message: str, *, retry_after_s: float = 1.0, fix: str = "") -> None:
        super().__init__(message, fix=fix)
        self.retry_after_s = retry_after_s


class NotReadyError(HandfulError):
    """The model is loading or the process is shutting down. `estimated_time_s` is how long loading may still take."""

    retryable = True

    def __init__(self, message: str, *, estimated_time_s: float = 0.0, fix: str = "") -> None:
        super().__init__(message, fix=fix)
        self.estimated_time_s = estimated_time_s


class RequestTimeoutError(HandfulError):
    """A deadline passed before the request was answered."""

    retryable = True


class RequestAbortedError(HandfulError):
    """The request was given up by its caller or by a shutdown before it was answered."""


class RemoteError(HandfulError):
    """A server's answer can't be used. `status` is the HTTP status, or None when no answer came."""

    def __init__(self, message: str, *, status: int | None = None, retryable: bool = False, fix: str = "") -> None:
        super().__init__(message, fix=fix)
        self.status = status
        self.retryable = retryable


class StoreError(HandfulError):
    """The database can't be reached, read or written. What was asked may work once it can."""

    retryable = True


class EngineError(HandfulError):
    """handful failed. The request may be sent again once; the log has the traceback."""

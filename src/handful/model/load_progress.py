"""How far a load is, told to whoever waits longer than a few seconds: a bar on a terminal, lines in the log."""

import logging
import time
from collections.abc import Iterator
from contextlib import contextmanager

from torch import Tensor

from handful.model.checkpoint import Checkpoint
from handful.model.source_progress import Advance, progress_bar

_log = logging.getLogger(__name__)

SHOWN_AFTER_S = 3.0
SAID_EVERY_S = 10.0


@contextmanager
def told(name: str, checkpoint: Checkpoint) -> Iterator["Told"]:
    """The tensors of the model `name`, with what is read of them told."""
    with progress_bar(f"Loading {name}", after_s=SHOWN_AFTER_S) as advance:
        yield Told(name, checkpoint, advance)


class Told:
    """A checkpoint that says how much of it has been read. A `TensorFile`."""

    def __init__(self, name: str, checkpoint: Checkpoint, advance: Advance) -> None:
        self._name, self._checkpoint, self._advance = name, checkpoint, advance
        self._num_read, self._num_bytes = 0, checkpoint.num_bytes
        self._said_at = time.monotonic()

    @property
    def names(self) -> tuple[str, ...]:
        """All tensors' names."""
        return self._checkpoint.names

    def shape(self, name: str) -> tuple[int, ...]:
        """A tensor's shape, without reading it."""
        return self._checkpoint.shape(name)

    def tensor(self, name: str) -> Tensor:
        """A tensor in the type it is stored in."""
        found = self._checkpoint.tensor(name)
        self._num_read = min(self._num_read + found.nbytes, self._num_bytes)  # a head may be read twice
        self._advance(self._num_read, self._num_bytes)
        if time.monotonic() - self._said_at >= SAID_EVERY_S:
            self._said_at = time.monotonic()
            _log.info("loading %s: %d of %d MB", self._name, self._num_read / 1e6, self._num_bytes / 1e6)
        return found

"""How far a download is, told to whoever started it: a function of bytes done and bytes in all.

huggingface_hub tells progress to a bar; here is one that also tells it on. Whoever wants to know says so in the thread
that loads the model (`told_to`): nothing between there and the download has to pass it on.
"""

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

Sink = Callable[[int, int], None]
_thread = threading.local()


@contextmanager
def told_to(sink: Sink) -> Iterator[None]:
    """Tell `sink` of all that this thread downloads meanwhile; it is called from other threads, too."""
    _thread.sink = sink
    try:
        yield
    finally:
        _thread.sink = None


def tell(num_done: int, num_all: int) -> None:
    """Tell on how far a download of this thread is."""
    sink: Sink | None = getattr(_thread, "sink", None)
    if sink is not None:
        sink(num_done, num_all)


def bar_class() -> type[Any] | None:
    """The class of bars for `snapshot_download`; None, its own, where nobody wants to know."""
    sink: Sink | None = getattr(_thread, "sink", None)
    return None if sink is None else _telling(sink)


def _telling(sink: Sink) -> type[Any]:
    from huggingface_hub.utils.tqdm import tqdm

    class Bar(tqdm):
        """There are several: of files, of bytes that came, and of bytes that are on disk. The last one counts."""

        def __init__(self, *args: Any, **kwargs: Any) -> None:
            self._is_told = kwargs.get("unit") == "B" and not str(kwargs.get("name")).endswith(".transfer")
            self._num_done = int(kwargs.get("initial") or 0)
            super().__init__(*args, **kwargs)  # type: ignore[no-untyped-call]

        def update(self, n: float | None = 1) -> Any:
            if self._is_told:
                self._num_done += int(n or 0)
                sink(self._num_done, int(self.total or 0))
            return super().update(n)

    return Bar

"""How long a connection may stay without a whole head of a request."""

import asyncio

HEAD_TIMEOUT_S = 30.0
MAX_HEAD_BYTES = 64 * 1024


class HeadDeadline:
    """Closes a connection on which no whole head arrived in time."""

    def __init__(self, loop: asyncio.AbstractEventLoop, transport: asyncio.Transport, timeout_s: float) -> None:
        self._loop, self._transport, self._timeout_s = loop, transport, timeout_s
        self._timer: asyncio.TimerHandle | None = None

    def begin(self) -> None:
        """A head is waited for. A piece of one doesn't move its deadline."""
        if self._timer is None:
            self._timer = self._loop.call_later(self._timeout_s, self._transport.close)

    def end(self) -> None:
        """A whole head has come, or the connection is gone."""
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

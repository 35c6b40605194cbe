"""Who is next: each caller's requests in order of arrival, and the callers by turns, weighed by tokens.

Start-time fair queueing (Goyal, Vin and Cheng, 1996): a request starts, in virtual time, where its caller's last one
ended, or now where its caller had none waiting; the one that starts first is next. The virtual time is the start of the
request that was taken last, and a request lasts as many tokens as memory is reserved for it. So while two callers wait,
the tokens they were given differ by at most their largest requests', however many requests each of them has queued.
"""

from collections.abc import Iterator

from handful.engine.request import Request


class FairQueue:
    """Waiting requests. One thread changes it; others may ask for lengths."""

    def __init__(self) -> None:
        self._waiting: dict[str, dict[Request, None]] = {}  # callers in the order in which they came
        self._starts: dict[str, int] = {}  # where a caller's next request starts, in tokens of virtual time
        self._now = 0
        self._length = 0

    def __len__(self) -> int:
        return self._length

    def __iter__(self) -> Iterator[Request]:
        for requests in self._waiting.values():
            yield from requests

    def __contains__(self, request: Request) -> bool:
        return request in self._waiting.get(request.owner, ())

    def callers(self) -> list[str]:
        """The callers that have requests here, in the order in which they are next."""
        return sorted(self._waiting, key=self._starts.__getitem__)

    def first_of(self, owner: str) -> Request:
        """The request of a caller that is next. KeyError when there is none."""
        return next(iter(self._waiting[owner]))

    def num_of(self, owner: str) -> int:
        """How many requests of a caller wait."""
        return len(self._waiting.get(owner, ()))

    def append(self, request: Request) -> None:
        """Add a request behind the others of its caller."""
        if request.owner not in self._waiting:
            self._waiting[request.owner] = {}
            self._starts[request.owner] = max(self._starts.get(request.owner, 0), self._now)
        self._waiting[request.owner][request] = None
        self._length += 1

    @property
    def first(self) -> Request:
        """The request that is next. IndexError when there is none."""
        if not self._waiting:
            raise IndexError("the queue is empty")
        return self.first_of(min(self._waiting, key=self._starts.__getitem__))

    def popleft(self) -> Request:
        """Take the request that is next. IndexError when there is none."""
        request = self.first
        self.take(request)
        return request

    def take(self, request: Request) -> None:
        """Take its caller's first request; time stands where the earliest of all that wait would start."""
        self._now = max(self._now, min(self._starts[owner] for owner in self._waiting))
        if not request.was_set_back:  # else it has been counted
            self._starts[request.owner] += request.num_slots
        self.remove(request)

    def put_back(self, request: Request) -> None:
        """A request that was taken is its caller's first again; the caller's turn comes when it would have come."""
        self._waiting[request.owner] = {request: None} | self._waiting.get(request.owner, {})
        self._starts[request.owner] = max(self._starts.get(request.owner, 0), self._now)
        self._length += 1

    def remove(self, request: Request) -> None:
        """Take any request out; it counts for nothing. KeyError when it isn't there."""
        requests = self._waiting[request.owner]
        del requests[request]
        self._length -= 1
        if not requests:
            del self._waiting[request.owner]
            self._forget_the_past()

    def _forget_the_past(self) -> None:
        """What callers who don't wait were given matters as long as it lies ahead of the others."""
        ahead = {owner: start for owner, start in self._starts.items() if start > self._now or owner in self._waiting}
        self._starts = ahead if self._waiting else {}

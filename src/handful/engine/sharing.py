"""What running callers share: places, memory and the rows of a step. Pure policy, over lists.

A caller that has nothing running doesn't wait for a place: one that holds more than its share gives one up. A share is
an equal part among the callers that run and the one that comes. Nothing here does anything while one caller is alone.
"""

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from handful.engine.request import Request, Warm


@dataclass(frozen=True, slots=True)
class Lack:
    """What a request can't be admitted for the lack of: `whole` places, or `whole` tokens of memory."""

    whole: int
    is_places: bool

    def held_by(self, running: Iterable[Request]) -> Counter[str]:
        """How much of it each caller holds. Tokens are counted as in the queue: what is shared, by each request."""
        held = Counter[str]()
        for request in running:
            held[request.owner] += 1 if self.is_places else request.num_slots
        return held

    def share(self, held: Mapping[str, int]) -> int:
        """An equal part among the callers that hold some of it and one more."""
        return max(1, self.whole // (len(held) + 1))


def waits_for_itself(running: Sequence[Request], request: Request, lack: Lack) -> bool:
    """Whether a request isn't admitted because its own caller holds more than a share: others needn't wait for it."""
    held = lack.held_by(running)
    return held[request.owner] > lack.share(held)


def one_to_set_back(running: Sequence[Request], newcomer: Request, lack: Lack) -> Request | None:
    """The running request that steps back for one of a caller that has none; None where none does.

    It is the request that was admitted last, so the least is lost, of a caller that holds more than its share and keeps
    another. No request steps back twice, so each goes on in the end; nor does one whose computed prompt would be lost.
    Who asks for more than its share of the memory waits.
    """
    held, places = lack.held_by(running), Counter(request.owner for request in running)
    share = lack.share(held)
    if not lack.is_places and newcomer.num_slots > share:
        return None
    for request in reversed(running):
        if held[request.owner] > share and places[request.owner] > 1 and _may_be_set_back(request):
            return request
    return None


def _may_be_set_back(request: Request) -> bool:
    return not (request.was_set_back or request.wants_prompt_logprobs or isinstance(request.goal, Warm))


def divide(wanted: Sequence[tuple[str, int]], budget: int) -> list[int]:
    """How many rows each gets of a step that has so many left: what callers `(caller, rows)` want, in order of arrival.

    Callers share equally, what one doesn't need goes to the others, and within a caller who came first is first. All
    that is there is given as long as anybody wants it.
    """
    wants = Counter[str]()
    for caller, rows in wanted:
        wants[caller] += rows
    left = _shared_out(wants, budget)
    given = []
    for caller, rows in wanted:
        given.append(min(rows, left[caller]))
        left[caller] -= given[-1]
    return given


def _shared_out(wants: Counter[str], budget: int) -> dict[str, int]:
    """What each caller gets: those that want least first, each at most an equal part of what is left."""
    found: dict[str, int] = {}
    order: Iterable[str] = sorted(wants, key=wants.__getitem__)
    for num_before, caller in enumerate(order):
        found[caller] = min(wants[caller], -(-budget // (len(wants) - num_before)))
        budget -= found[caller]
    return found

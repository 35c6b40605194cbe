"""What running callers share: places, memory and the rows of a step. Pure policy, over lists.

A caller that has nothing running doesn't wait for a place: one that holds more than its share gives one up. A share is
an equal part among the callers that run and the one that comes. Nothing here does anything while one caller is alone.
"""

from collections import Counter
from collections.abc import Iterable, Sequence

from handful.engine.request import Request, Warm


def one_to_set_back(running: Sequence[Request], newcomer: Request, whole: int, *, by_places: bool) -> Request | None:
    """The running request that steps back for one of a caller that has none; None where none does.

    `whole` is what there is of what the newcomer lacks: places, or memory, in tokens as the queue counts them. It is
    the request that was admitted last, so the least is lost, of a caller that holds more than its share and keeps
    another. No request steps back twice, so each goes on in the end; nor does one whose computed prompt would be lost.
    Who asks for more than its share of the memory waits.
    """
    places = Counter(request.owner for request in running)
    held = places if by_places else Counter[str]()
    if not by_places:
        for request in running:
            held[request.owner] += request.num_slots
    share = max(1, whole // (len(places) + 1))
    if not by_places and newcomer.num_slots > share:
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

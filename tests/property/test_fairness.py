"""The queue's promises, under random requests of random callers: nobody starves, and everybody keeps their order."""

from hypothesis import given
from hypothesis import strategies as st

from handful.engine.fair_queue import FairQueue
from handful.engine.request import Embed, Request

OWNERS = "abcd"
MOST_TOKENS = 9
ARRIVALS = st.tuples(st.sampled_from(OWNERS), st.integers(1, MOST_TOKENS))
# What happens in a row: a request arrives, the next one is taken (None), or one of the waiting leaves (an integer).
HAPPENINGS = st.lists(ARRIVALS | st.none() | st.integers(0, 50), max_size=120)


@given(HAPPENINGS)
def test_each_callers_order_is_kept_and_nothing_is_lost(happenings: list[tuple[str, int] | int | None]) -> None:
    queue, waiting = FairQueue(), dict[str, list[Request]]()
    for number, happening in enumerate(happenings):
        everyone = [request for requests in waiting.values() for request in requests]
        if isinstance(happening, tuple):
            owner, length = happening
            request = Request(number, (0,) * length, Embed(), owner=owner)
            queue.append(request)
            waiting.setdefault(owner, []).append(request)
        elif happening is None and everyone:
            expected = queue.first
            taken = queue.popleft()
            assert taken is expected
            assert taken is waiting[taken.owner].pop(0)
        elif happening is not None and everyone:
            left = everyone[happening % len(everyone)]
            queue.remove(left)
            waiting[left.owner].remove(left)
        assert len(queue) == sum(map(len, waiting.values()))
        assert {owner: queue.num_of(owner) for owner in waiting} == {o: len(rs) for o, rs in waiting.items()}


@given(st.lists(ARRIVALS, min_size=1, max_size=60), st.lists(ARRIVALS | st.none(), max_size=120))
def test_while_two_callers_wait_neither_gets_much_more(
    queued: list[tuple[str, int]], then: list[tuple[str, int] | None]
) -> None:
    queue, given_tokens = FairQueue(), dict.fromkeys(OWNERS, 0)
    both_since: dict[tuple[str, str], tuple[int, int]] = {}
    for number, happening in enumerate([*queued, *then, *[None] * 200]):
        if happening is not None:
            owner, length = happening
            queue.append(Request(number, (0,) * length, Embed(), owner=owner))
        elif len(queue):
            taken = queue.popleft()
            given_tokens[taken.owner] += taken.num_slots
        for one in OWNERS:
            for other in OWNERS:
                if not (queue.num_of(one) and queue.num_of(other)):
                    both_since.pop((one, other), None)
                    continue
                first = both_since.setdefault((one, other), (given_tokens[one], given_tokens[other]))
                gained = given_tokens[one] - first[0], given_tokens[other] - first[1]
                assert gained[0] - gained[1] <= 2 * MOST_TOKENS


@given(st.lists(ARRIVALS, max_size=100), st.integers(1, 500))
def test_a_newcomer_waits_for_one_request_of_each_other_caller_at_most(
    queued: list[tuple[str, int]], num_taken: int
) -> None:
    queue = FairQueue()
    for number, (owner, length) in enumerate(queued):
        queue.append(Request(number, (0,) * length, Embed(), owner=owner))
    for _ in range(min(num_taken, len(queue))):
        queue.popleft()
    newcomer = Request(-1, (0,), Embed(), owner="new")
    queue.append(newcomer)
    before = []
    while (taken := queue.popleft()) is not newcomer:
        before.append(taken.owner)
    assert len(before) == len(set(before))

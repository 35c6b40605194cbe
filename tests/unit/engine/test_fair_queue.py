"""Who is next in the queue."""

import pytest

from handful.engine.fair_queue import FairQueue
from handful.engine.request import Embed, Request


def request(number: int, owner: str, length: int = 1) -> Request:
    return Request(number, (0,) * length, Embed(), owner=owner)


def queue_of(*requests: Request) -> FairQueue:
    queue = FairQueue()
    for each in requests:
        queue.append(each)
    return queue


def drained(queue: FairQueue) -> list[int]:
    return [queue.popleft().id for _ in range(len(queue))]


def test_one_callers_requests_keep_their_order() -> None:
    assert drained(queue_of(*(request(i, "") for i in range(5)))) == [0, 1, 2, 3, 4]


def test_a_newcomer_is_next_whatever_others_have_queued() -> None:
    queue = queue_of(*(request(i, "many") for i in range(10_000)))
    assert queue.popleft().id == 0
    queue.append(request(10_000, "one"))
    assert queue.popleft().id == 10_000


def test_callers_take_turns() -> None:
    queue = queue_of(*(request(i, "a") for i in range(3)), *(request(i, "b") for i in range(10, 13)))
    assert drained(queue) == [0, 10, 1, 11, 2, 12]


def test_long_requests_count_for_more() -> None:
    long = [request(i, "long", 4) for i in range(2)]
    short = [request(i, "short", 1) for i in range(10, 18)]
    assert drained(queue_of(*long, *short)) == [0, 10, 11, 12, 13, 1, 14, 15, 16, 17]


def test_who_waits_again_does_not_go_ahead_of_who_waited_all_along() -> None:
    queue = queue_of(request(1, "back", 10), request(2, "patient", 1), request(3, "patient", 1))
    assert queue.popleft().id == 1
    queue.append(request(4, "back", 10))
    assert drained(queue) == [2, 3, 4]


def test_idling_saves_nothing_up() -> None:
    queue = queue_of(*(request(i, "busy", 10) for i in range(3)))
    drained(queue)
    for i in range(10, 14):
        queue.append(request(i, "busy" if i % 2 else "idle", 10))
    assert drained(queue) == [10, 11, 12, 13]


def test_a_request_can_be_taken_out_from_anywhere() -> None:
    first, middle, other = request(1, "a"), request(2, "a"), request(3, "b")
    queue = queue_of(first, middle, other)
    queue.remove(middle)
    assert middle not in queue
    assert first in queue
    assert list(queue) == [first, other]
    assert (queue.num_of("a"), queue.num_of("b"), queue.num_of("c"), len(queue)) == (1, 1, 0, 2)


def test_an_empty_queue_has_no_first() -> None:
    with pytest.raises(IndexError):
        FairQueue().popleft()


def test_callers_who_left_are_forgotten() -> None:
    queue = FairQueue()
    for i in range(1000):
        queue.append(request(i, f"caller {i}"))
        queue.popleft()
    assert queue._starts == {}


def test_what_is_put_back_is_its_callers_first_again_and_is_not_counted_twice() -> None:
    queue = queue_of(*(request(i, "a", 5) for i in range(3)), request(10, "b", 5), request(11, "b", 5))
    taken = queue.popleft()
    taken.was_set_back = True
    queue.put_back(taken)
    assert (len(queue), queue.num_of("a")) == (5, 3)
    assert drained(queue) == [10, 0, 1, 11, 2]


def test_what_is_put_back_into_an_empty_queue_is_there() -> None:
    queue = queue_of(request(1, "a"))
    queue.put_back(queue.popleft())
    assert drained(queue) == [1]

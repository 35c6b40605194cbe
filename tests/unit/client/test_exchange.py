"""Retries, driven by hand: no sockets, no sleeping."""

from collections.abc import Sequence

import pytest

from handful.client.exchange import Answer, Call, Failure, RetryPolicy, Wait, exchange
from handful.errors import BusyError, HandfulError, NotReadyError, RemoteError

CALL = Call("POST", "/models/default", b"{}")
BUSY = Answer(429, {"retry-after": "3"}, b'{"error": ["Full."]}')
LOADING = Answer(503, {}, b'{"error": "Loading.", "estimated_time": 20.0}')
UNREACHABLE = Failure(RemoteError("No server."), was_sent=False)
BROKEN = Failure(RemoteError("It broke."), was_sent=True)
POLICY = RetryPolicy(retries=3, max_total_wait_s=100, jitter=lambda: 1.0)


def play(
    outcomes: Sequence[Answer | Failure], policy: RetryPolicy = POLICY
) -> tuple[list[float], Answer | HandfulError]:
    """The waits between the calls, and what came of it. Every outcome must be used."""
    waits: list[float] = []
    left = list(outcomes)
    steps = exchange(CALL, policy)
    step = next(steps)
    try:
        while True:
            if isinstance(step, Wait):
                waits.append(step.seconds)
                step = steps.send(None)
            else:
                assert step == CALL
                step = steps.send(left.pop(0))
    except StopIteration as finished:
        result: Answer | HandfulError = finished.value
    except HandfulError as error:
        result = error
    assert left == []
    return waits, result


def test_an_answer_is_an_answer() -> None:
    assert play([Answer(200)]) == ([], Answer(200))


def test_the_wait_that_a_busy_server_names_is_honoured() -> None:
    assert play([BUSY, BUSY, Answer(200)]) == ([3.0, 3.0], Answer(200))


def test_the_estimate_of_a_loading_server_is_honoured() -> None:
    assert play([LOADING, Answer(200)])[0] == [20.0]


def test_a_server_that_names_no_wait_is_asked_at_doubling_intervals() -> None:
    unnamed = Answer(503, {}, b"")
    assert play([unnamed, unnamed, unnamed, Answer(200)])[0] == [0.5, 1.0, 2.0]


def test_jitter_spreads_the_intervals_over_their_upper_half() -> None:
    low = RetryPolicy(jitter=lambda: 0.0)
    assert play([UNREACHABLE, Answer(200)], low)[0] == [0.25]


def test_retries_come_to_an_end_with_the_last_error() -> None:
    waits, error = play([BUSY] * 4)
    assert (len(waits), type(error)) == (3, BusyError)


def test_no_wait_is_begun_that_passes_the_total() -> None:
    waits, error = play([LOADING, LOADING, LOADING], RetryPolicy(retries=9, max_total_wait_s=50, jitter=lambda: 1.0))
    assert (waits, type(error)) == ([20.0, 20.0], NotReadyError)


def test_a_refused_connection_is_tried_again() -> None:
    assert play([UNREACHABLE, Answer(200)])[1] == Answer(200)


@pytest.mark.parametrize("outcome", [BROKEN, Answer(400), Answer(404), Answer(422), Answer(500), Answer(504)])
def test_nothing_else_is_sent_twice(outcome: Answer | Failure) -> None:
    waits, error = play([outcome])
    assert (waits, isinstance(error, HandfulError)) == ([], True)


@pytest.mark.parametrize("status", [301, 302, 307, 308])
def test_a_redirect_is_not_followed(status: int) -> None:
    _, error = play([Answer(status, {"location": "http://evil.example"})])
    assert isinstance(error, RemoteError)


def test_no_retries_means_one_attempt() -> None:
    assert play([BUSY], RetryPolicy(retries=0))[0] == []

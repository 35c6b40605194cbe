"""Limits by token: windows, debts, and what a client reads of them."""

import asyncio
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest
from huggingface_hub.utils._http import parse_ratelimit_headers

from handful.server.errors import RateLimitedError
from handful.server.token_limits import TokenLimiter
from handful.store.database import Database
from handful.store.tokens import ApiToken, TokenLimits
from tests.unit.server.serving import FakeModel, client_of, run, until
from tests.unit.server.with_access import BODY, bearer, opened, state_over

PATH = "/models/fake"


class Clock:
    """A clock that is set by hand."""

    def __init__(self) -> None:
        self.now = 1000.0

    def __call__(self) -> float:
        return self.now


def token_with(requests: int | None = None, tokens: int | None = None, concurrent: int | None = None) -> ApiToken:
    limits = TokenLimits(requests, tokens, concurrent)
    return ApiToken(id="a", account="ada", name="x", prefix="hf_", scopes=("predict",), created_at=0, limits=limits)


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def limiter(clock: Clock) -> TokenLimiter:
    return TokenLimiter(clock)


def use(limiter: TokenLimiter, token: ApiToken, num_tokens: int = 0) -> None:
    limiter.enter(token)
    limiter.leave(token, num_tokens)


def test_requests_are_refused_until_the_minute_is_over(limiter: TokenLimiter, clock: Clock) -> None:
    token = token_with(requests=2)
    use(limiter, token)
    clock.now += 20.5
    use(limiter, token)
    with pytest.raises(RateLimitedError, match=r"2 requests a minute\. Wait 40 seconds") as caught:
        limiter.enter(token)
    assert caught.value.retry_after_s == 40
    clock.now += 39.5
    use(limiter, token)


def test_the_time_to_wait_is_enough(limiter: TokenLimiter, clock: Clock) -> None:
    token = token_with(tokens=10)
    use(limiter, token, 47)
    with pytest.raises(RateLimitedError) as caught:
        limiter.enter(token)
    clock.now += caught.value.retry_after_s
    use(limiter, token)


def test_tokens_beyond_the_limit_count_in_the_next_minutes(limiter: TokenLimiter, clock: Clock) -> None:
    token = token_with(tokens=10)
    use(limiter, token, 25)
    clock.now += 61
    with pytest.raises(RateLimitedError, match="10 tokens a minute"):
        limiter.enter(token)
    clock.now += 60
    use(limiter, token)
    assert limiter.headers(token)["ratelimit"].startswith('"tokens";r=5;')


def test_a_refused_request_costs_nothing(limiter: TokenLimiter, clock: Clock) -> None:
    token = token_with(requests=1, concurrent=1)
    use(limiter, token)
    for _ in range(5):
        with pytest.raises(RateLimitedError):
            limiter.enter(token)
    clock.now += 60
    use(limiter, token)


def test_requests_at_the_same_time_are_bounded(limiter: TokenLimiter) -> None:
    token = token_with(concurrent=2)
    limiter.enter(token)
    limiter.enter(token)
    with pytest.raises(RateLimitedError, match="2 requests running"):
        limiter.enter(token)
    limiter.leave(token, 0)
    limiter.enter(token)


def test_a_token_without_limits_is_never_refused_and_has_no_headers(limiter: TokenLimiter) -> None:
    for _ in range(1000):
        limiter.enter(token_with())
    assert limiter.headers(token_with()) == {}


def test_the_client_library_reads_the_headers(limiter: TokenLimiter, clock: Clock) -> None:
    token = token_with(requests=500, tokens=10_000)
    use(limiter, token, 9_000)
    clock.now += 5
    read = parse_ratelimit_headers(limiter.headers(token))
    assert read is not None
    assert (read.resource_type, read.remaining, read.reset_in_seconds) == ("tokens", 1000, 55)
    assert (read.limit, read.window_seconds) == (10_000, 60)


@pytest.fixture
def database(tmp_path: Path) -> Iterator[Database]:
    with opened(tmp_path) as there:
        yield there


def test_over_http_a_refusal_says_when_to_come_back(database: Database) -> None:
    headers = bearer(database, limits=TokenLimits(requests_per_minute=2))

    async def send() -> list[httpx.Response]:
        async with client_of(state_over(database)) as client:
            return [await client.post(PATH, content=BODY, headers=headers) for _ in range(3)]

    first, second, refused = run(send())
    assert [each.status_code for each in (first, second, refused)] == [200, 200, 429]
    assert first.headers["ratelimit"].startswith('"requests";r=1;t=')
    assert first.headers["ratelimit-policy"] == '"requests";q=2;w=60'
    assert refused.headers["ratelimit"].startswith('"requests";r=0;t=')
    assert 1 <= int(refused.headers["retry-after"]) <= 60
    assert refused.json()["error"][0].startswith("Rate limit reached")


def test_a_model_s_tokens_count_when_they_are_generated(database: Database) -> None:
    headers = bearer(database, limits=TokenLimits(tokens_per_minute=7))

    async def send() -> list[int]:
        async with client_of(state_over(database)) as client:
            return [(await client.post(PATH, content=BODY, headers=headers)).status_code for _ in range(2)]

    assert run(send()) == [200, 429]  # 3 words read and 4 generated


def test_one_token_s_limit_is_not_anothers(database: Database) -> None:
    limits = TokenLimits(requests_per_minute=1)

    async def send() -> list[int]:
        async with client_of(state_over(database)) as client:
            callers = [bearer(database, limits=limits) for _ in range(2)]
            return [(await client.post(PATH, content=BODY, headers=each)).status_code for each in callers * 2]

    assert run(send()) == [200, 200, 429, 429]


def test_reading_is_not_limited_and_counts_as_nothing(database: Database) -> None:
    headers = bearer(database, limits=TokenLimits(requests_per_minute=1))

    async def send() -> list[int]:
        async with client_of(state_over(database)) as client:
            statuses = [(await client.get("/tasks", headers=headers)).status_code for _ in range(3)]
            return [*statuses, (await client.post(PATH, content=BODY, headers=headers)).status_code]

    assert run(send()) == [200] * 4


def test_a_request_that_is_given_up_makes_room(database: Database) -> None:
    headers = bearer(database, limits=TokenLimits(concurrent_requests=1))

    async def send() -> list[int]:
        model = FakeModel(gate=asyncio.Event())
        async with client_of(state_over(database, model)) as client:
            running = asyncio.ensure_future(client.post(PATH, content=BODY, headers=headers))
            await until(lambda: model.num_running == 1)
            refused = await client.post(PATH, content=BODY, headers=headers)
            running.cancel()
            await asyncio.gather(running, return_exceptions=True)
            assert model.gate is not None
            model.gate.set()
            return [refused.status_code, (await client.post(PATH, content=BODY, headers=headers)).status_code]

    assert run(send()) == [429, 200]

"""Bodies, refused while they are read."""

import asyncio
from collections.abc import AsyncIterator

import pytest

from handful.config import Settings
from handful.errors import InvalidInputError
from handful.server.limits import Limits
from tests.unit.server.serving import FakeModel, client_of, run, state_with

SMALL = Limits(max_body_bytes=1000, body_timeout_s=0.1)


def test_a_body_that_says_it_is_too_large_is_refused_unread() -> None:
    async def check() -> None:
        async with client_of(state_with(FakeModel(), limits=SMALL)) as client:
            response = await client.post("/models/fake", content=b"a" * 1001)
            assert (response.status_code, response.headers["connection"]) == (413, "close")

    run(check())


def test_a_body_in_pieces_is_refused_once_it_is_too_large() -> None:
    read = 0

    async def pieces() -> AsyncIterator[bytes]:
        nonlocal read
        for _ in range(100_000):
            read += 100
            yield b"a" * 100

    async def check() -> None:
        async with client_of(state_with(FakeModel(), limits=SMALL)) as client:
            assert (await client.post("/models/fake", content=pieces())).status_code == 413

    run(check())
    assert read < 2000


def test_a_body_that_never_comes_is_given_up() -> None:
    async def never() -> AsyncIterator[bytes]:
        yield b"a"
        await asyncio.sleep(5)

    async def check() -> None:
        async with client_of(state_with(FakeModel(), limits=SMALL)) as client:
            assert (await client.post("/models/fake", content=never())).status_code == 408

    run(check())


def test_limits_come_from_the_settings() -> None:
    limits = Limits.from_settings(Settings(max_body_mb=2, max_batch_inputs=3, request_timeout_s=4.0))
    assert (limits.max_body_bytes, limits.max_completions, limits.request_timeout_s) == (2 * 1024 * 1024, 3, 4.0)


def test_as_much_as_allowed_is_allowed() -> None:
    limits = Limits(max_input_characters=5, max_completions=6)
    limits.check_texts([5, 5, 5], completions_each=2)
    with pytest.raises(InvalidInputError):
        limits.check_texts([5, 5, 5], completions_each=3)
    with pytest.raises(InvalidInputError):
        limits.check_texts([6])

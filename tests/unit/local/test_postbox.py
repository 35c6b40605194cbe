"""What threads tell an event loop, and what is put off to the end of its turn."""

import asyncio
import threading
from collections.abc import Callable

import pytest

from handful.local.postbox import Postbox, postbox


class Counted:
    """Counts how often a loop is woken."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.num_wakes = 0
        loop = asyncio.get_running_loop()
        call = loop.call_soon_threadsafe

        def counting(function: Callable[[], object]) -> object:
            self.num_wakes += 1
            return call(function)

        monkeypatch.setattr(loop, "call_soon_threadsafe", counting)


def test_all_that_is_posted_together_wakes_the_loop_once(monkeypatch: pytest.MonkeyPatch) -> None:
    async def check() -> None:
        counted, told = Counted(monkeypatch), list[int]()
        for i in range(64):
            postbox().post(lambda i=i: told.append(i))  # type: ignore[misc]
        await asyncio.sleep(0.01)
        assert (told, counted.num_wakes) == (list(range(64)), 1)
        postbox().post(lambda: told.append(64))
        await asyncio.sleep(0.01)
        assert (told[-1], counted.num_wakes) == (64, 2)

    asyncio.run(check())


def test_nothing_that_threads_post_is_lost() -> None:
    async def check() -> None:
        box, told = postbox(), list[int]()

        def post(first: int) -> None:
            for i in range(first, first + 5_000):
                box.post(lambda i=i: told.append(i))  # type: ignore[misc]

        threads = [threading.Thread(target=post, args=(5_000 * i,)) for i in range(4)]
        for thread in threads:
            thread.start()
        while any(thread.is_alive() for thread in threads) or len(told) < 20_000:
            await asyncio.sleep(0.001)
        assert sorted(told) == list(range(20_000))

    asyncio.run(asyncio.wait_for(check(), 60))


def test_a_loop_that_has_ended_is_told_nothing() -> None:
    async def make() -> Postbox:
        return postbox()

    asyncio.run(make()).post(lambda: pytest.fail("nobody is there"))


def test_each_loop_has_one_box() -> None:
    async def make() -> tuple[Postbox, Postbox]:
        return postbox(), postbox()

    one, other = asyncio.run(make()), asyncio.run(make())
    assert one[0] is one[1]
    assert one[0] is not other[0]


def test_what_is_put_off_happens_once_a_turn() -> None:
    async def check() -> None:
        said: list[str] = []

        def say() -> None:
            said.append("end")

        async def ask() -> None:
            said.append("asked")
            postbox().at_end_of_turn(say)

        await asyncio.gather(*(ask() for _ in range(3)))
        await asyncio.sleep(0)
        assert said == ["asked"] * 3 + ["end"]
        await ask()
        await asyncio.sleep(0)
        assert said[-1] == "end"

    asyncio.run(check())

"""Prefixes that are kept for tasks: once for all who need one, and never more than half of a model's memory."""

import asyncio

from handful.server.task_pins import TaskPins
from tests.unit.server.serving import FakeModel, run


def pins_of(model: FakeModel, num_slots: int = 20) -> TaskPins:
    pins = TaskPins()
    pins.model_loaded("m", model, num_slots)
    return pins


def test_a_prefix_that_two_need_is_computed_once_and_kept_until_both_let_go() -> None:
    async def check() -> None:
        model = FakeModel()
        pins = pins_of(model)
        assert all(await asyncio.gather(pins.hold("a", "m", "x y"), pins.hold("b", "m", "x y")))
        assert model.pinned == ["x y"]
        await pins.release("a", "m", "x y")
        await pins.release("a", "m", "x y")  # who doesn't hold it any more changes nothing
        assert model.pinned == ["x y"]
        await pins.release("b", "m", "x y")
        assert model.pinned == []

    run(check())


def test_all_together_are_at_most_half_of_the_memory() -> None:
    async def check() -> None:
        model = FakeModel()
        pins = pins_of(model, num_slots=8)
        assert await pins.hold("a", "m", "one two three")
        assert not await pins.hold("b", "m", "four five")
        assert model.pinned == ["one two three"]
        await pins.release("a", "m", "one two three")
        assert await pins.hold("b", "m", "four five")

    run(check())


def test_a_model_that_is_loaded_again_holds_nothing_yet() -> None:
    async def check() -> None:
        first, second = FakeModel(), FakeModel()
        pins = pins_of(first)
        await pins.hold("a", "m", "x")
        pins.model_loaded("m", second, 20)
        await pins.release("a", "m", "x")
        assert await pins.hold("a", "m", "x")
        assert second.pinned == ["x"]

    run(check())


def test_a_model_that_is_not_there_and_an_empty_prefix_hold_nothing() -> None:
    async def check() -> None:
        pins = pins_of(FakeModel())
        assert not await pins.hold("a", "other", "x")
        assert not await pins.hold("a", "m", "")

    run(check())


def test_who_gives_up_while_it_is_computed_leaves_nothing_behind() -> None:
    class Slow(FakeModel):
        async def pin(self, prefix: str) -> None:
            try:
                await asyncio.Event().wait()
            except asyncio.CancelledError:
                self.num_aborted += 1
                raise

    async def check() -> None:
        model = Slow()
        pins = pins_of(model)
        holding = asyncio.ensure_future(pins.hold("a", "m", "x"))
        await asyncio.sleep(0.01)
        holding.cancel()
        await asyncio.gather(holding, return_exceptions=True)
        await asyncio.sleep(0)
        assert model.num_aborted == 1
        assert pins_of(model).backend("m") is model

    run(check())

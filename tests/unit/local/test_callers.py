"""Callers of one model: none reads what another sent, all read what is everybody's, and they take turns."""

import asyncio
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from typing import Any

import pytest

from handful.engine.engine import Engine
from handful.errors import BusyError, InvalidInputError
from handful.local import LocalModel
from handful.types import Generation
from tests.unit.local.test_local_model import GREEDY, make
from tests.unit.local.test_transformers_backend import loaded

PROMPT = "the review is a good film and the review is positive"
ONE = replace(GREEDY, max_new_tokens=1)


@pytest.fixture
def model() -> Iterator[LocalModel]:
    made = make(max_running_requests=4, max_queued_requests=40, max_queue_share=0.5)
    yield made
    made.loop.call(lambda engine: engine.check_integrity())
    made.close()


def cached(model: LocalModel, owner: str, prompt: str = PROMPT) -> int:
    """How much of a prompt a caller finds in the cache."""
    backend = model.asynchronous().for_caller(owner)
    return asyncio.run(backend.generate(prompt, ONE)).num_cached_tokens


def pin(model: LocalModel, owner: str, prefix: str = PROMPT) -> None:
    asyncio.run(model.asynchronous().for_caller(owner).pin(prefix))


def test_a_caller_finds_its_own_prompt_again_and_never_anothers(model: LocalModel) -> None:
    whole = model.count_tokens(PROMPT) - 1
    assert [cached(model, owner) for owner in ("ada", "grace", "", "ada", "grace", "")] == [
        0,
        0,
        0,
        whole,
        whole,
        whole,
    ]


def test_scores_and_embeddings_are_as_separate(model: LocalModel) -> None:
    async def ask(owner: str) -> int:
        backend = model.asynchronous().for_caller(owner)
        await backend.embed(PROMPT)
        return (await backend.score(PROMPT, [" a", " b"])).num_cached_tokens

    before = model.stats().num_cached_tokens
    assert asyncio.run(ask("ada")) > 0
    assert model.stats().num_cached_tokens > before
    between = model.stats().num_cached_tokens
    asyncio.run(model.asynchronous().for_caller("grace").embed(PROMPT))
    assert model.stats().num_cached_tokens == between


def test_what_nobody_in_particular_pins_is_everybodys(model: LocalModel) -> None:
    pin(model, "")
    whole = model.count_tokens(PROMPT)
    more = PROMPT + " or the film is bad"
    assert cached(model, "ada", more) == whole
    assert cached(model, "grace", more) == whole
    assert cached(model, "ada", more) > whole


def test_what_a_caller_pins_is_its_own(model: LocalModel) -> None:
    pin(model, "ada")
    more = PROMPT + " or the film is bad"
    assert cached(model, "grace", more) == 0
    assert cached(model, "ada", more) == model.count_tokens(PROMPT)


def test_two_callers_pins_of_one_text_are_two(model: LocalModel) -> None:
    for owner in ("", "ada"):
        pin(model, owner)
    backend = model.asynchronous()
    asyncio.run(backend.unpin(PROMPT))
    held: list[Any] = []
    model.loop.call(lambda engine: held.extend(engine.scheduler.pinned))
    assert [salt for salt, _ in held] == ["ada"]
    asyncio.run(backend.for_caller("ada").unpin(PROMPT))
    model.loop.call(lambda engine: held.extend(engine.scheduler.pinned))
    assert len(held) == 1


def test_a_model_that_transformers_runs_keeps_a_callers_pin_to_itself() -> None:
    model = loaded("phi")
    pin(model, "ada")
    try:
        assert cached(model, "grace", PROMPT + " a") == 0
        assert cached(model, "ada", PROMPT + " a") > 0
    finally:
        asyncio.run(model.asynchronous().for_caller("ada").unpin(PROMPT))


def test_what_is_remembered_of_tokenising_is_a_callers_own(model: LocalModel) -> None:
    for owner in ("ada", "grace", "ada"):
        model.plan_score("Label:", [" a"], owner)
    found = model._continuation_ids.cache_info()
    assert (found.misses, found.hits) == (2, 1)


@contextmanager
def paused(model: LocalModel) -> Iterator[None]:
    """The engine's thread waits meanwhile, so that what is handed in comes together."""
    entered, gate = threading.Event(), threading.Event()

    def wait(_: Engine) -> None:
        entered.set()
        gate.wait(30)

    waiting = threading.Thread(target=model.loop.call, args=(wait,))
    waiting.start()
    entered.wait(30)
    try:
        yield
    finally:
        gate.set()
        waiting.join()


async def handed_in(model: LocalModel, owner: str, number: int) -> list["asyncio.Task[Generation]"]:
    """So many requests of a caller, begun."""
    backend = model.asynchronous().for_caller(owner)
    works = [asyncio.ensure_future(backend.generate(f"{owner} {i}", GREEDY)) for i in range(number)]
    await asyncio.sleep(0)
    return works


def test_who_fills_its_share_of_the_queue_is_refused_and_others_are_not(model: LocalModel) -> None:
    async def both() -> tuple[list[Any], list[Any]]:
        with paused(model):
            many, few = await handed_in(model, "many", 100), await handed_in(model, "few", 10)
        return await asyncio.gather(*many, return_exceptions=True), await asyncio.gather(*few)

    many, few = asyncio.run(both())
    refused = [answer for answer in many if isinstance(answer, BusyError)]
    assert (len(refused), len(few)) == (80, 10)
    assert "share" in refused[0].message


def test_more_at_once_than_a_share_are_refused_for_good(model: LocalModel) -> None:
    many = replace(GREEDY, n=21, temperature=1.0)
    with pytest.raises(InvalidInputError, match="21 completions"):
        asyncio.run(model.asynchronous().for_caller("ada").generate("the", many))
    asyncio.run(model.asynchronous().generate("the", many))


def test_a_newcomer_is_answered_long_before_a_flood_is(model: LocalModel) -> None:
    ended: list[str] = []

    async def then_note(work: "asyncio.Task[Generation]", owner: str) -> None:
        await work
        ended.append(owner)

    async def all_of_them() -> None:
        with paused(model):
            many, new = await handed_in(model, "many", 20), await handed_in(model, "new", 1)
        await asyncio.gather(*(then_note(work, "many") for work in many), *(then_note(work, "new") for work in new))

    asyncio.run(all_of_them())
    assert ended.index("new") < 4  # as many run side by side

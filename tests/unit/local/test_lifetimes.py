"""Requests that end early: at a deadline, given up at any moment, or refused because they could never be queued."""

import asyncio
import os
import random
import signal
import threading
import time
import warnings
from collections.abc import Callable, Iterator
from dataclasses import replace
from typing import Any

import pytest

from handful.errors import BusyError, HandfulError, InvalidInputError, RequestTimeoutError
from handful.local import LocalModel
from handful.types import GenerationParameters
from tests.unit.local.test_local_model import GREEDY, make

LONG = replace(GREEDY, max_new_tokens=500, ignore_eos=True)


def slow_down(model: LocalModel, seconds: float) -> None:
    """Let each step of the engine take `seconds` more."""

    def slow(engine: Any) -> None:
        run = engine.runner.run

        def run_slowly(works: Any) -> Any:
            time.sleep(seconds)
            return run(works)

        engine.runner.run = run_slowly

    model.loop.call(slow)


def check_nothing_is_held(model: LocalModel) -> None:
    """Every slot of the KV memory is free once the cache is emptied, and nobody is waiting."""
    model.loop.call(lambda engine: engine.check_integrity())
    model.loop.call(lambda engine: engine.scheduler.cache.clear())
    stats = model.stats()
    assert (stats.num_running, stats.num_waiting) == (0, 0)
    assert stats.num_free_slots == stats.num_slots


@pytest.fixture
def closing() -> Iterator[list[LocalModel]]:
    models: list[LocalModel] = []
    yield models
    for model in models:
        model.close()


def made(closing: list[LocalModel], **settings: object) -> LocalModel:
    closing.append(make(**settings))
    return closing[-1]


def ask_all(model: LocalModel, *asked: tuple[str, GenerationParameters]) -> list[object]:
    async def ask() -> list[object]:
        works = [model.asynchronous().generate(prompt, parameters) for prompt, parameters in asked]
        return list(await asyncio.gather(*works, return_exceptions=True))

    return asyncio.run(ask())


def test_a_deadline_that_passes_in_the_queue_frees_the_place(closing: list[LocalModel]) -> None:
    model = made(closing, request_timeout_s=0.3, max_running_requests=1)
    slow_down(model, 0.01)
    first, second = ask_all(model, ("the", LONG), ("a bad film", LONG))
    assert isinstance(first, RequestTimeoutError)
    assert isinstance(second, RequestTimeoutError)
    check_nothing_is_held(model)


def test_a_deadline_that_passes_while_the_prompt_is_read_frees_its_memory(closing: list[LocalModel]) -> None:
    model = made(closing, request_timeout_s=0.2, max_batched_tokens=16)
    slow_down(model, 0.05)
    [answer] = ask_all(model, ("the review is " * 100, replace(GREEDY, max_new_tokens=1)))
    assert isinstance(answer, RequestTimeoutError)
    assert model.stats().num_steps < 12
    check_nothing_is_held(model)


def test_a_deadline_that_passes_while_text_is_written_frees_its_memory(closing: list[LocalModel]) -> None:
    model = made(closing, request_timeout_s=0.2)
    slow_down(model, 0.01)
    assert isinstance(ask_all(model, ("the", LONG))[0], RequestTimeoutError)
    assert 3 < model.stats().num_steps < 100
    check_nothing_is_held(model)


def test_requests_given_up_at_any_moment_leave_nothing_behind(closing: list[LocalModel]) -> None:
    model = made(closing, max_running_requests=8, max_batched_tokens=64)
    asynchronous = model.asynchronous()
    moments = random.Random(7)

    async def one(number: int) -> None:
        prompt = "the review is " * moments.randrange(1, 20) + str(number)
        work: asyncio.Future[Any] = asyncio.ensure_future(asynchronous.generate(prompt, LONG))
        if number % 3 == 0:
            stream = asynchronous.stream(prompt, LONG)
            work.cancel()
            work = asyncio.ensure_future(anext(stream))
        if number % 3 == 1:
            work.cancel()
            work = asyncio.ensure_future(asynchronous.score(prompt, [" positive", " negative"]))
        await asyncio.sleep(moments.random() * 0.05)
        work.cancel()
        await asyncio.gather(work, return_exceptions=True)
        if number % 3 == 0:
            await stream.aclose()  # type: ignore[attr-defined]

    async def leave() -> None:
        for start in range(0, 300, 30):
            await asyncio.gather(*(one(start + i) for i in range(30)))

    asyncio.run(leave())
    model.generate(["the"], GREEDY)
    check_nothing_is_held(model)


def test_more_completions_than_the_queue_holds_are_refused_and_never_waited_for(closing: list[LocalModel]) -> None:
    model = made(closing, max_queued_requests=4)
    with pytest.raises(InvalidInputError, match="8 completions"):
        model.generate(["the"], replace(GREEDY, n=8, temperature=1.0))
    assert len(model.generate(["the"], replace(GREEDY, n=4, temperature=1.0))[0].completions) == 4


def test_completions_count_against_the_queue_not_prompts(closing: list[LocalModel]) -> None:
    model = made(closing, max_queued_requests=6, max_running_requests=1)
    slow_down(model, 0.01)
    several = replace(GREEDY, n=4, temperature=1.0, max_new_tokens=30)
    answers = ask_all(model, ("the", several), ("a bad film", several), ("good", several))
    assert any(isinstance(answer, BusyError) for answer in answers)
    assert not all(isinstance(answer, BusyError) for answer in answers)


def test_a_step_that_does_not_end_shows_in_the_time_since_the_last(closing: list[LocalModel]) -> None:
    model = made(closing)
    assert model.stats().seconds_since_step == 0.0
    slow_down(model, 0.6)
    asker = threading.Thread(target=lambda: model.generate(["the"], replace(GREEDY, max_new_tokens=1)))
    asker.start()
    time.sleep(0.5)
    assert model.stats().seconds_since_step > 0.3
    asker.join()
    assert model.stats().seconds_since_step == 0.0


def test_requests_of_one_turn_of_the_event_loop_begin_in_one_step(closing: list[LocalModel]) -> None:
    model = made(closing)
    asked = [(f"the review is {word}", replace(GREEDY, max_new_tokens=4, ignore_eos=True)) for word in "abcdefgh"]
    ask_all(model, *asked)  # from now on what they share is there
    before = model.stats().num_steps
    assert all(not isinstance(answer, Exception) for answer in ask_all(model, *asked))
    assert model.stats().num_steps - before == 4


def answer_in_a_fork(ask: Callable[[], object]) -> str:
    """What a forked process gets; it is ended after a while where it waits for ever."""
    reader, writer = os.pipe()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)  # of Python 3.12: there are threads, and that is the point
        child = os.fork()
    if child == 0:
        signal.alarm(20)
        try:
            answer = repr(ask())
        except HandfulError as error:
            answer = str(error)
        os.write(writer, answer.encode())
        os._exit(0)
    os.close(writer)
    with os.fdopen(reader) as told:
        answer = told.read()
    os.waitpid(child, 0)
    return answer


def test_in_a_fork_a_model_says_so_and_does_not_wait_for_ever(closing: list[LocalModel]) -> None:
    model = made(closing)
    model.generate(["the review"], GREEDY)
    for ask in (lambda: model.generate(["the review"], GREEDY), lambda: model.score(["the"], [" a"])):
        assert answer_in_a_fork(ask).startswith("The model was loaded in another process, of which this one is a fork.")
    assert answer_in_a_fork(model.close) == "None"
    assert model.generate(["the review"], GREEDY)

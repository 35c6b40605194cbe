"""What a request uses is in the books when it is answered, once."""

import asyncio
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from handful.server.task_registry import ServedTask
from handful.server.usage_backend import metered
from handful.server.usage_tally import Tally, current_tally
from handful.store.database import Database
from handful.store.usage import Usage
from handful.types import GenerationParameters
from tests.unit.server.serving import SENTIMENT, FakeModel, client_of, run, until
from tests.unit.server.with_access import BODY, bearer, opened, state_over, written

PATH = "/models/fake"


@pytest.fixture
def database(tmp_path: Path) -> Iterator[Database]:
    with opened(tmp_path) as there:
        yield there


def counted(usage: Usage) -> tuple[int, int, int, int]:
    return (usage.requests, usage.input_characters, usage.prompt_tokens, usage.generated_tokens)


def test_a_request_is_in_the_database_when_its_answer_is_there(database: Database) -> None:
    headers = bearer(database)

    async def send() -> list[Usage]:
        async with client_of(state_over(database)) as client:
            seen = []
            for path in (PATH, PATH, "/models/org/fake"):
                await client.post(path, content=BODY, headers=headers)
                seen.append(sum(written(database).values(), Usage()))
            return seen

    seen = run(send())
    assert [counted(usage) for usage in seen] == [(1, 13, 3, 4), (2, 26, 6, 8), (3, 39, 9, 12)]
    assert seen[0].compute_us > 0
    assert set(written(database)) == {"fake", "org/fake"}
    assert written(database, None) == {}


def test_callers_without_a_token_are_counted_together(database: Database) -> None:
    async def send() -> None:
        async with client_of(state_over(database, required=False)) as client:
            await client.post(PATH, content=BODY, headers={"authorization": "Bearer sk-x"})
            await client.post(PATH, content=BODY)

    run(send())
    assert written(database, None)["fake"].requests == 2


def test_a_stream_is_counted_when_it_has_ended(database: Database) -> None:
    headers = bearer(database)

    async def send() -> None:
        async with client_of(state_over(database)) as client:
            body = json.loads(BODY) | {"stream": True}
            await client.post(PATH, json=body, headers=headers)
            assert counted(written(database)["fake"]) == (1, 13, 3, 4)

    run(send())


def test_a_stream_that_is_closed_early_costs_its_prompt_and_what_it_sent() -> None:
    late: list[tuple[str, Usage]] = []

    async def use() -> Tally:
        tally = Tally(lambda model, amount: late.append((model, amount)))
        current_tally.set(tally)
        events: Any = metered(FakeModel(), "m").stream("one two three", GenerationParameters(max_new_tokens=9))
        await anext(events)
        await anext(events)
        await events.aclose()
        await until(lambda: late)
        return tally

    tally = run(use())
    assert late == [("m", Usage(prompt_tokens=3, generated_tokens=2))]
    assert counted(tally.amounts(None)["m"]) == (1, 0, 0, 0)


def test_a_task_s_predictions_are_one_request_of_its_model(database: Database) -> None:
    headers = bearer(database)

    async def send() -> None:
        async with client_of(state_over(database)) as client:
            await client.post("/tasks/sentiment", json={"inputs": ["Good.", "Bad."]}, headers=headers)

    run(send())
    usage = written(database)["fake"]
    assert (usage.requests, usage.input_characters) == (1, 9)
    assert usage.prompt_tokens == 2 * (5 + 2)  # the fake says: 5 of the prompt and one of each label


def test_what_is_measured_of_a_task_is_nobodys_usage(database: Database) -> None:
    headers = bearer(database)
    state = state_over(database)
    state.tasks.put(ServedTask(SENTIMENT.replace(calibration="auto"), "fake"))

    async def send() -> None:
        async with client_of(state) as client:
            await client.post("/tasks/sentiment", json={"inputs": ["Good.", "Bad."]}, headers=headers)

    run(send())
    assert written(database)["fake"].prompt_tokens == 2 * (5 + 2)


def test_time_side_by_side_counts_once() -> None:
    async def use() -> int:
        tally = Tally(lambda *_: None)

        async def work() -> None:
            with tally.working("m"):
                await asyncio.sleep(0.05)

        await asyncio.gather(*(work() for _ in range(10)))
        return tally.amounts(None)["m"].compute_us

    assert 50_000 <= run(use()) < 250_000


def test_what_was_drawn_and_not_returned_counts_too() -> None:
    async def use() -> Usage:
        tally = Tally(lambda *_: None)
        current_tally.set(tally)
        parameters = GenerationParameters(max_new_tokens=4, n=2, best_of=6, temperature=1.0)
        await metered(FakeModel(), "m").generate("one", parameters)
        return tally.amounts(None)["m"]

    assert run(use()).generated_tokens == 24


def test_a_request_that_is_refused_uses_nothing(database: Database) -> None:
    headers = bearer(database)

    async def send() -> list[int]:
        async with client_of(state_over(database)) as client:
            answers = [
                await client.post("/models/none", content=BODY, headers=headers),
                await client.post(PATH, content="{", headers=headers),
                await client.get("/tasks", headers=headers),
            ]
            return [answer.status_code for answer in answers]

    assert run(send()) == [404, 400, 200]
    assert written(database) == {}

"""Answers that are given again: to whom, to what, how many, and what becomes of them when the server stops."""

import asyncio
import json
import threading
from collections.abc import Iterator, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import httpx
import pytest

from handful.errors import StoreError
from handful.server.cached import key_of
from handful.server.response_cache import MAX_UNWRITTEN, ResponseCache
from handful.server.state import ServerState
from handful.store.accounts import Accounts
from handful.store.database import Database
from handful.store.responses import CacheBounds, CachedResponses
from handful.types import ChatTemplate, Completion, Generation, GenerationParameters, Prompt
from tests.unit.server.serving import SENTIMENT, FakeModel, client_of, run, state_with, until
from tests.unit.server.with_access import bearer, opened, state_over, written

OTHER_FORMS = ("[]", "7", '{"value": []}', '{"value": [], "compute_time": "x\\r\\ny: 1"}')
ROOMY = CacheBounds(1_000_000, 1000)
GREEDY: dict[str, Any] = {"inputs": "one two", "parameters": {"max_new_tokens": 3}}
SAMPLED: dict[str, Any] = {"inputs": "one two", "parameters": {"max_new_tokens": 3, "temperature": 0.5}}
COMPLETION = {"model": "fake", "prompt": "one two", "max_tokens": 3, "temperature": 0}


@pytest.fixture
def database(tmp_path: Path) -> Iterator[Database]:
    with opened(tmp_path) as there:
        yield there


def cached_state(model: FakeModel, kept: CachedResponses | None = None) -> ServerState:
    return state_with(model, SENTIMENT, responses=ResponseCache(ROOMY, kept))


def ask_all(state: ServerState, *requests: Mapping[str, Any]) -> list[httpx.Response]:
    """Answers to POSTs, one after the other. A request is a body, with its path and headers under "_"."""

    async def post_all() -> list[httpx.Response]:
        async with client_of(state) as client:
            found = []
            for request in requests:
                how = {"path": "/models/fake", "headers": {}} | request.get("_", {})
                body = {key: value for key, value in request.items() if key != "_"}
                found.append(await client.post(how["path"], content=json.dumps(body), headers=how["headers"]))
            return found

    return run(post_all())


def computed(*requests: Mapping[str, Any], model: FakeModel | None = None) -> list[bool]:
    """Of each request in turn whether the model had to work for it."""
    answers = ask_all(cached_state(model or FakeModel()), *requests)
    assert [answer.status_code for answer in answers] == [200] * len(answers)
    return [answer.headers["x-compute-type"] != "cache" for answer in answers]


def test_the_same_greedy_request_is_computed_once() -> None:
    model = FakeModel()
    first, second = ask_all(cached_state(model), GREEDY, GREEDY)
    assert second.json() == first.json()
    assert (first.headers["x-compute-type"], second.headers["x-compute-type"]) == ("cpu", "cache")
    assert len(model.prompts) == 1


class Slow(FakeModel):
    """One whose work takes a time that shows."""

    async def generate(self, prompt: Prompt, parameters: GenerationParameters) -> Generation:
        await asyncio.sleep(0.01)
        return await super().generate(prompt, parameters)


@pytest.mark.parametrize("asked", [GREEDY, COMPLETION | {"_": {"path": "/v1/completions"}}])
def test_an_answer_that_is_given_again_tells_the_time_that_it_once_took(asked: dict[str, Any]) -> None:
    first, second = ask_all(cached_state(Slow()), asked, asked)
    assert second.headers["x-compute-type"] == "cache"
    assert float(first.headers["x-compute-time"]) >= 0.01
    assert second.headers["x-compute-time"] == first.headers["x-compute-time"]


def test_one_text_and_a_list_of_one_have_answers_of_their_own() -> None:
    assert computed(GREEDY, GREEDY | {"inputs": ["one two"]}) == [True, True]


def test_a_seeded_text_is_kept_and_one_drawn_anew_is_not() -> None:
    seeded = {"inputs": "one two", "parameters": {"temperature": 0.5, "seed": 7}}
    assert computed(seeded, seeded, SAMPLED, SAMPLED) == [True, False, True, True]


def test_a_drawn_text_is_kept_for_whom_asks_for_that() -> None:
    asked = SAMPLED | {"options": {"use_cache": True}}
    by_header = SAMPLED | {"_": {"headers": {"x-use-cache": "true"}}}
    assert computed(asked, by_header, SAMPLED) == [True, False, True]


@pytest.mark.parametrize(
    "refusal", [{"options": {"use_cache": False}}, {"_": {"headers": {"X-Use-Cache": "false"}}}], ids=["body", "header"]
)
def test_who_refuses_it_gets_new_work_of_which_nothing_is_kept(refusal: dict[str, Any]) -> None:
    refused = GREEDY | refusal
    assert computed(refused, refused, GREEDY, refused) == [True] * 4


def test_a_header_that_is_neither_is_refused_by_its_name() -> None:
    (answer,) = ask_all(cached_state(FakeModel()), GREEDY | {"_": {"headers": {"x-use-cache": "perhaps"}}})
    assert answer.status_code == 400
    assert "x-use-cache" in answer.text


def test_a_stream_is_always_computed() -> None:
    stream = GREEDY | {"stream": True}
    assert computed(GREEDY, stream, stream) == [True, True, True]


def test_a_request_that_failed_is_computed_again() -> None:
    model = FakeModel(error=StoreError("It broke."))
    state = cached_state(model)
    assert ask_all(state, GREEDY)[0].status_code >= 500
    assert len(state.responses) == 0


def test_a_text_that_the_clock_ended_is_not_kept() -> None:
    class Slow(FakeModel):
        async def generate(self, prompt: Prompt, parameters: GenerationParameters) -> Generation:
            return Generation((Completion("a", "max_time"),), 1)

    timed = {"inputs": "one", "parameters": {"max_time": 0.1}}
    assert computed(timed, timed, model=Slow()) == [True, True]


def test_tgis_generate_shares_with_the_models_route() -> None:
    generate = GREEDY | {"_": {"path": "/generate"}}
    first, second = ask_all(cached_state(FakeModel()), generate, generate)
    assert first.json() == second.json()
    assert second.headers["x-compute-type"] == "cache"


def test_a_completion_is_given_again_under_an_id_of_its_own() -> None:
    request = COMPLETION | {"_": {"path": "/v1/completions"}}
    first, second = (answer for answer in ask_all(cached_state(FakeModel()), request, request))
    assert second.headers["x-compute-type"] == "cache"
    assert second.json()["choices"] == first.json()["choices"]
    assert second.json()["id"] != first.json()["id"]


def test_a_chat_is_given_again_as_long_as_the_conversation_and_its_template_are_the_same() -> None:
    def chat(**changes: Any) -> dict[str, Any]:
        messages = [{"role": "user", "content": "Hi"}]
        asked = {"messages": messages, "max_tokens": 3, "temperature": 0, "_": {"path": "/v1/chat/completions"}}
        return asked | changes

    cache, plain = ResponseCache(ROOMY), ChatTemplate("{{ messages[0].content }}")
    answers = ask_all(state_with(FakeModel(chat_template=plain), responses=cache), chat(), chat())
    first, second = (answer.json() for answer in answers)
    assert [answer.headers["x-compute-type"] for answer in answers] == ["cpu", "cache"]
    assert second["choices"] == first["choices"]
    assert second["id"] != first["id"]
    other = ChatTemplate("<{{ messages[0].content }}>")
    changed = [chat(messages=[{"role": "user", "content": "Ho"}]), chat(stop="w2"), chat(temperature=1), chat(n=1)]
    answers = ask_all(state_with(FakeModel(chat_template=plain), responses=cache), *changed, chat(stream=True))
    answers += ask_all(state_with(FakeModel(chat_template=other), responses=cache), chat())
    assert [answer.headers["x-compute-type"] for answer in answers] == ["cpu", "cpu", "cpu", "cache", "cpu", "cpu"]


def test_embeddings_are_given_again() -> None:
    request = {"input": ["a", "b"], "_": {"path": "/v1/embeddings"}}
    other = {"input": ["a", "b"], "encoding_format": "base64", "_": {"path": "/v1/embeddings"}}
    assert computed(request, request, other) == [True, False, True]


def test_predictions_are_given_again_until_the_task_is_another() -> None:
    path = {"_": {"path": "/tasks/sentiment"}}
    one, both = {"inputs": "a"} | path, {"inputs": ["a"]} | path
    assert computed(one, one, both) == [True, False, True]
    cache = ResponseCache(ROOMY)
    for task, is_computed in ((SENTIMENT, True), (SENTIMENT, False), (SENTIMENT.with_examples(()), True)):
        answer = ask_all(state_with(FakeModel(), task, responses=cache), one)[0]
        assert (answer.headers["x-compute-type"] != "cache") == is_computed


def test_every_part_of_a_request_counts() -> None:
    parameters = {
        "max_new_tokens": 4,
        "min_new_tokens": 1,
        "repetition_penalty": 1.5,
        "presence_penalty": 0.5,
        "frequency_penalty": 0.5,
        "stop": ["w2"],
        "seed": 3,
        "top_k": 5,
        "return_full_text": False,
        "details": True,
        "max_time": 50,
        "do_sample": False,
    }
    changed = [
        GREEDY | {"parameters": {"max_new_tokens": 3, "seed": 1} | {key: value}} for key, value in parameters.items()
    ]
    changed.append(GREEDY | {"options": {"end_sequence": "w3"}})
    other = [GREEDY | {"inputs": "one  two"}, GREEDY | {"_": {"path": "/models/org/fake"}}]
    assert computed(GREEDY, *changed, *other) == [True] * (1 + len(changed) + len(other))


def test_every_part_of_the_model_counts() -> None:
    """Whatever `ModelInfo` says: the fields are walked, so that a new one is tried too."""
    info = FakeModel.info
    seen = set()
    for name in type(info).__dataclass_fields__:
        value = getattr(info, name)
        other = {"x": "y"} if isinstance(value, dict) else value + ("x" if isinstance(value, str) else 1)
        changed: dict[str, Any] = {name: other}
        model = FakeModel()
        model.info = replace(info, **changed)
        state = cached_state(model)
        ask_all(state, GREEDY)
        seen |= set(state.responses._bodies)
    assert len(seen) == len(type(info).__dataclass_fields__)


def test_the_version_and_the_account_count(monkeypatch: pytest.MonkeyPatch) -> None:
    before = key_of("ada", {}, {})
    assert len({before, key_of("grace", {}, {}), key_of(None, {}, {}), key_of("ada", {}, {"a": 1})}) == 4
    monkeypatch.setattr("handful.server.cached.version", lambda _: "99")
    assert key_of("ada", {}, {}) != before


def test_accounts_never_share_an_answer(database: Database) -> None:
    for name in ("ada", "grace"):
        Accounts(database).create(name)
    callers = [bearer(database, account=name) for name in ("ada", "grace", "ada")]
    state = state_over(database, responses=ResponseCache(ROOMY))
    answers = ask_all(state, *(GREEDY | {"_": {"headers": headers}} for headers in callers))
    assert [answer.headers["x-compute-type"] for answer in answers] == ["cpu", "cpu", "cache"]


def test_an_answer_from_the_cache_is_a_request_without_tokens(database: Database) -> None:
    state = state_over(database, responses=ResponseCache(ROOMY))
    headers = bearer(database)
    ask_all(state, *[GREEDY | {"_": {"headers": headers}}] * 3)
    used = written(database)["fake"]
    assert (used.requests, used.prompt_tokens, used.generated_tokens) == (3, 2, 3)


def test_another_server_on_the_database_gives_the_answer_again(database: Database) -> None:
    kept = CachedResponses(database)
    first = ask_all(cached_state(FakeModel(), kept), GREEDY)[0]
    idle = FakeModel()
    again = ask_all(cached_state(idle, kept), GREEDY)[0]
    assert again.headers["x-compute-type"] == "cache"
    assert again.json() == first.json()
    assert idle.prompts == []


def test_a_poisoned_row_is_data_and_nothing_else(database: Database) -> None:
    kept = CachedResponses(database)
    state = cached_state(FakeModel(), kept)
    ask_all(state, GREEDY)
    (key,) = state.responses._bodies
    for poison in (
        "cos\nsystem\n(S'touch marker'\ntR.",
        "[" * 100_000,
        '{"lc": 1, "type": "constructor"',
        *OTHER_FORMS,
    ):
        kept.add({key: poison}, ROOMY)
        answer = ask_all(cached_state(FakeModel(), kept), GREEDY)[0]
        assert answer.headers["x-compute-type"] == "cpu"


class Broken(CachedResponses):
    """A table that can't be used; `hold` first makes writers wait."""

    hold = threading.Event()

    def newest(self, bounds: CacheBounds) -> list[tuple[str, str]]:
        raise StoreError("The database is gone.")

    def add(self, bodies: Mapping[str, str], bounds: CacheBounds) -> None:
        self.hold.wait(10)
        raise StoreError("The database is gone.")


def test_without_its_database_a_server_answers_and_remembers(database: Database) -> None:
    broken = Broken(database)
    broken.hold.set()
    answers = ask_all(cached_state(FakeModel(), broken), GREEDY, GREEDY)
    assert [answer.headers["x-compute-type"] for answer in answers] == ["cpu", "cache"]


def test_what_waits_to_be_written_is_bounded(database: Database) -> None:
    cache = ResponseCache(ROOMY, Broken(database))
    for i in range(3 * MAX_UNWRITTEN):
        cache.keep(str(i), i)
    assert cache._keeper is not None
    assert len(cache._keeper._unwritten) == MAX_UNWRITTEN


def test_a_hanging_database_holds_no_request_up(database: Database) -> None:
    hanging = Broken(database)
    hanging.hold = threading.Event()

    async def post_all() -> list[int]:
        async with client_of(cached_state(FakeModel(), hanging)) as client:
            bodies = [json.dumps(GREEDY | {"inputs": f"text {i}"}) for i in range(20)]
            statuses = [(await client.post("/models/fake", content=body)).status_code for body in bodies]
            hanging.hold.set()
            return statuses

    assert run(post_all()) == [200] * 20


@pytest.mark.parametrize("bounds", [CacheBounds(16 * 20, 1000), CacheBounds(1_000_000, 20)], ids=["bytes", "entries"])
def test_it_is_bounded_and_forgets_the_least_recently_used(bounds: CacheBounds) -> None:
    cache = ResponseCache(bounds)
    cache.keep("used", "0123456789abcd")
    for i in range(100_000 // 100):
        assert cache.find("used") == "0123456789abcd"
        cache.keep(str(i), "0123456789abcd")
    assert len(cache) == 20
    assert cache.find("0") is None
    assert cache.find("999") == "0123456789abcd"


def test_one_large_answer_does_not_push_everything_out() -> None:
    cache = ResponseCache(CacheBounds(1600, 1000))
    cache.keep("small", "x")
    cache.keep("large", "x" * 200)
    assert cache.find("large") is None
    assert cache.find("small") == "x"


def test_as_it_is_made_nothing_is_kept() -> None:
    assert not ResponseCache().is_on
    model = FakeModel()
    ask_all(state_with(model), GREEDY, GREEDY)
    assert len(model.prompts) == 2


def test_a_cache_without_database_starts_and_ends() -> None:
    async def through() -> None:
        async with client_of(state_with(FakeModel(), responses=ResponseCache(ROOMY))):
            await until(lambda: True)

    run(through())

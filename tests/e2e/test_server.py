"""What people do with a server: the clients of others and our own, one at a time and many at once."""

import asyncio
import json
from typing import Any

import httpx
import pytest
import requests
from huggingface_hub import AsyncInferenceClient, InferenceClient

from handful import AsyncClient, Client
from tests.e2e.conftest import Server

PROMPT = "English: cheese\nFrench: fromage\n###\nEnglish: bread\nFrench: pain\n###\nEnglish: milk\nFrench:"
TEXTS = ["I laughed all the way through.", "The plot is thin and the jokes are old."]


def test_the_calls_of_2021_work_with_only_their_url_changed(server: Server) -> None:
    def query(payload: str, parameters: dict[str, Any], options: dict[str, Any]) -> str:
        body = {"inputs": payload, "parameters": parameters, "options": options}
        headers = {"Authorization": "Bearer hf_xxx"}
        response = requests.request("POST", server.model_url, headers=headers, data=json.dumps(body), timeout=60)
        try:
            response.raise_for_status()
        except requests.exceptions.HTTPError:
            return "Error:" + " ".join(response.json()["error"])
        return str(response.json()[0]["generated_text"])

    parameters = {"max_new_tokens": 25, "temperature": 0.5, "end_sequence": "###"}
    text = query(PROMPT, parameters, {"use_cache": False})
    assert text.startswith(PROMPT)
    assert "`temperature`" in query(PROMPT, parameters | {"temperature": -1}, {})


def test_the_hubs_client_works_whole_and_streamed(server: Server) -> None:
    client = InferenceClient(model=server.model_url)
    whole = client.text_generation(PROMPT, stop=["###"], max_new_tokens=25, return_full_text=False)
    assert whole.endswith("###")
    assert "".join(client.text_generation(PROMPT, stop=["###"], max_new_tokens=25, stream=True)) == whole


def test_the_hubs_client_gets_details_whole_and_streamed(server: Server) -> None:
    client = InferenceClient(model=server.model_url)
    whole = client.text_generation(PROMPT, stop=["###"], max_new_tokens=25, details=True)
    assert whole.generated_text.startswith(PROMPT)
    assert whole.details is not None
    assert whole.details.finish_reason == "stop_sequence"
    assert whole.details.generated_tokens == len(whole.details.tokens)
    events = list(client.text_generation(PROMPT, stop=["###"], max_new_tokens=25, details=True, stream=True))
    assert events[-1].generated_text == whole.generated_text
    last = events[-1].details
    assert last is not None
    assert last.generated_tokens == whole.details.generated_tokens
    assert [event.token.id for event in events[:-1]] == [token.id for token in whole.details.tokens]


def test_the_hubs_async_client_works(server: Server) -> None:
    async def check() -> None:
        async with AsyncInferenceClient(model=server.model_url) as client:
            whole = await client.text_generation(PROMPT, stop=["###"], max_new_tokens=25, return_full_text=False)
            stream = await client.text_generation(PROMPT, stop=["###"], max_new_tokens=25, stream=True)
            assert "".join([text async for text in stream]) == whole

    asyncio.run(check())


def test_our_client_continues_texts(server: Server) -> None:
    with Client(server.url) as client:
        whole = client.text_generation(PROMPT, stop="###", max_new_tokens=25)
        assert whole.endswith("###")
        assert "".join(client.text_generation(PROMPT, stop="###", max_new_tokens=25, stream=True)) == whole
        assert client.text_generation([PROMPT, PROMPT], stop="###", max_new_tokens=25) == [whole, whole]
        health = client.health()
        assert (health["status"], health["models"]["default"]) == ("ok", "ready")


def test_several_texts_are_drawn_and_reproducible(server: Server) -> None:
    with Client(server.url) as client:
        drawn = [
            client.generations("Once", num_return_sequences=3, temperature=1.0, seed=7, max_new_tokens=8)
            for _ in range(2)
        ]
    assert drawn[0] == drawn[1]
    assert len({made.generated_text for made in drawn[0]}) == 3


def test_our_client_predicts(server: Server) -> None:
    with Client(server.url) as client:
        predictions = client.predict("sentiment", TEXTS)
        assert [made.input for made in predictions] == TEXTS
        assert [made.prediction for made in predictions] == ["positive", "negative"]
        assert all(sum((made.probabilities or {}).values()) == pytest.approx(1) for made in predictions)
        assert client.predict("translation", "the cat").completion is not None


def test_our_async_client_does_the_same(server: Server) -> None:
    async def check() -> None:
        async with AsyncClient(server.url) as client:
            whole = await client.text_generation(PROMPT, stop="###", max_new_tokens=25)
            stream = await client.text_generation(PROMPT, stop="###", max_new_tokens=25, stream=True)
            assert "".join([text async for text in stream]) == whole
            assert (await client.predict("sentiment", TEXTS[0])).prediction == "positive"

    asyncio.run(check())


def test_many_at_once_get_what_each_would_get_alone(server: Server) -> None:
    words = ["milk", "house", "water", "dog"]
    prompts = [PROMPT.replace("milk", word) for word in words]

    async def check() -> None:
        async with AsyncClient(server.url) as client:
            alone = [await client.text_generation(prompt, max_new_tokens=6) for prompt in prompts]

            async def streamed(prompt: str) -> str:
                stream = await client.text_generation(prompt, max_new_tokens=6, stream=True)
                return "".join([text async for text in stream])

            whole = [client.text_generation(prompts[i % 4], max_new_tokens=6) for i in range(32)]
            pieces = [streamed(prompts[i % 4]) for i in range(32)]
            assert await asyncio.gather(*whole, *pieces) == alone * 16

    asyncio.run(check())


def test_what_prompts_share_is_read_from_the_cache(server: Server) -> None:
    body = json.dumps({"inputs": PROMPT, "parameters": {"max_new_tokens": 1}})
    responses = [httpx.post(server.model_url, content=body, timeout=60) for _ in range(2)]
    prompt_tokens, cached = (int(responses[1].headers[name]) for name in ("x-prompt-tokens", "x-cached-tokens"))
    assert prompt_tokens - 2 <= cached < prompt_tokens


def test_a_text_of_many_bytes_a_character_streams_whole(server: Server) -> None:
    with Client(server.url) as client:
        prompt = "日本語: ありがとう 🙂🙂🙂\n日本語: ありがとう 🙂🙂🙂\n日本語:"
        whole = client.text_generation(prompt, max_new_tokens=30)
        assert "".join(client.text_generation(prompt, max_new_tokens=30, stream=True)) == whole

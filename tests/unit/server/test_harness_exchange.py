"""What lm-evaluation-harness' `local-completions` sends, and its arithmetic, against a tiny real model.

It sends token ids, asks for their echo with `logprobs: 1` and one token, drops that token's entry (`[ctxlen:-1]`), sums
the continuation's log-probabilities and calls it greedy where each equals the best alternative exactly, as a float.
"""

import json
from collections.abc import Iterator
from typing import Any

import pytest

from handful.config import Settings
from handful.local import LocalModel, load
from handful.server.model_entry import ModelSource
from handful.server.registry import ModelRegistry
from handful.server.state import ServerState
from handful.server.task_registry import TaskRegistry
from handful.types import GenerationParameters
from tests.unit.model.tiny_models import checkpoint
from tests.unit.server.serving import client_of, run

CONTEXT = "the review is positive and the review is"
CONTINUATIONS = [" negative", " positive", " a good film", " bad"]


@pytest.fixture(scope="module")
def model() -> Iterator[LocalModel]:
    made = load(str(checkpoint("llama")), configuration=Settings(precision="float32", kv_memory_mb=16))
    yield made
    made.close()


def post(model: LocalModel, **body: Any) -> Any:
    # The app closes its models at its end; this one is used again.
    class Kept:
        info, stats, asynchronous, num_bytes = model.info, model.stats, model.asynchronous, model.num_bytes

        def close(self, timeout_s: float | None = None) -> None:
            pass

    async def ask() -> Any:
        models = ModelRegistry([ModelSource("tiny", Kept)])
        async with client_of(ServerState(models=models, tasks=TaskRegistry())) as client:
            response = await client.post("/v1/completions", content=json.dumps({"model": "tiny"} | body))
            assert response.status_code == 200, response.text
            return response.json()

    return run(ask())


def loglikelihoods(model: LocalModel, prompts: list[list[int]], lengths: list[int]) -> list[tuple[float, bool]]:
    """The harness' own exchange and arithmetic."""
    answered = post(model, prompt=prompts, temperature=0, max_tokens=1, logprobs=1, seed=1234, echo=True)
    found = []
    for choice, length in zip(sorted(answered["choices"], key=lambda c: c["index"]), lengths, strict=True):
        logprobs = choice["logprobs"]["token_logprobs"][length:-1]
        top = choice["logprobs"]["top_logprobs"][length:-1]
        is_greedy = all(one == max(best.values()) for one, best in zip(logprobs, top, strict=True))
        found.append((sum(logprobs), is_greedy))
    return found


def split(model: LocalModel, continuation: str) -> tuple[list[int], int]:
    head, tail = model.tokenizer.encode_continuation(CONTEXT, continuation)
    return [*head, *tail], len(head)


def test_its_log_likelihoods_are_the_models_scores(model: LocalModel) -> None:
    prompts, lengths = zip(*(split(model, text) for text in CONTINUATIONS), strict=True)
    found = loglikelihoods(model, list(prompts), list(lengths))
    scores = model.score([CONTEXT], CONTINUATIONS)[0].logprobs
    assert [value for value, _ in found] == pytest.approx(scores, abs=1e-4)


def test_exactly_the_greedy_continuation_is_called_greedy(model: LocalModel) -> None:
    ids = model.tokenizer.encode(CONTEXT)
    drawn = post(model, prompt=ids, temperature=0, max_tokens=4, logprobs=1)
    assert drawn["usage"]["completion_tokens"] == 4
    generated = [
        span.id for span in model.generate([CONTEXT], GenerationParameters(max_new_tokens=4))[0].completions[0].tokens
    ]
    other = [(i + 1) % model.info.vocab_size for i in generated]
    found = loglikelihoods(model, [ids + generated, ids + other], [len(ids)] * 2)
    assert [is_greedy for _, is_greedy in found] == [True, False]


def test_every_list_has_one_entry_for_each_prompt_token_and_the_generated_one(model: LocalModel) -> None:
    ids = model.tokenizer.encode(CONTEXT)
    said = post(model, prompt=ids, temperature=0, max_tokens=1, logprobs=1, echo=True)["choices"][0]["logprobs"]
    assert {name: len(values) for name, values in said.items()} == dict.fromkeys(said, len(ids) + 1)
    assert (said["token_logprobs"][0], said["top_logprobs"][0]) == (None, None)
    assert all(isinstance(value, float) for value in said["token_logprobs"][1:])


def test_an_echo_without_new_tokens_reads_the_prompt_only(model: LocalModel) -> None:
    ids = model.tokenizer.encode(CONTEXT)
    answered = post(model, prompt=ids, max_tokens=0, logprobs=0, echo=True)
    assert len(answered["choices"][0]["logprobs"]["tokens"]) == len(ids)
    assert answered["choices"][0]["text"] == model.tokenizer.decode_continuation(ids, skip_special=False)
    assert answered["usage"]["completion_tokens"] == 0


def test_the_offsets_cut_the_text_into_its_tokens(model: LocalModel) -> None:
    choice = post(model, prompt=CONTEXT, temperature=0, max_tokens=6, logprobs=0, echo=True)["choices"][0]
    said, text = choice["logprobs"], choice["text"]
    ends = [*said["text_offset"][1:], len(text)]
    pieces = [text[start:end] for start, end in zip(said["text_offset"], ends, strict=True)]
    assert "".join(pieces) == text
    assert [piece for piece in pieces if piece] == [t for t, piece in zip(said["tokens"], pieces, strict=True) if piece]

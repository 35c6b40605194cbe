"""A model in this process, end to end on a tiny random one: texts in, answers out, through the engine's thread."""

import asyncio
import json
import shutil
import threading
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from transformers import AutoModelForCausalLM

from handful.config import Settings
from handful.engine.request import Work
from handful.errors import (
    BusyError,
    EngineError,
    InvalidInputError,
    InvalidParameterError,
    NotReadyError,
    PromptTooLongError,
    RequestTimeoutError,
)
from handful.local import LocalModel, load
from handful.types import Generation, GenerationParameters, Prompt
from tests.unit.model.tiny_models import checkpoint

GREEDY = GenerationParameters(max_new_tokens=12)
_ADDED = {"single_word": False, "lstrip": False, "rstrip": False, "normalized": False, "special": True}


def make(**settings: object) -> LocalModel:
    configuration = Settings(precision="float32", kv_memory_mb=16, **settings)  # type: ignore[arg-type]
    made = load(str(checkpoint("llama")), configuration=configuration)
    assert isinstance(made, LocalModel)
    return made


@pytest.fixture(scope="module")
def model() -> Iterator[LocalModel]:
    made = make()
    yield made
    made.loop.call(lambda engine: engine.check_integrity())
    made.close()


def test_prompts_are_answered_in_their_order(model: LocalModel) -> None:
    prompts = ["the review is", "a good film", "the review is positive and"]
    together = model.generate(prompts, GREEDY)
    assert [model.generate([prompt], GREEDY)[0].completions for prompt in prompts] == [a.completions for a in together]
    assert [answer.num_prompt_tokens for answer in together] == [model.count_tokens(prompt) for prompt in prompts]


def test_the_joined_stream_is_the_text(model: LocalModel) -> None:
    for parameters in (GREEDY, replace(GREEDY, temperature=1.5, seed=3), replace(GREEDY, stop=("e", "re"))):
        events = list(model.stream("the review is", parameters))
        completion = model.generate(["the review is"], parameters)[0].completions[0]
        assert "".join(event.text for event in events) == completion.text
        assert [event.token.id for event in events if event.token] == [token.id for token in completion.tokens]
        assert [event.generation is not None for event in events] == [False] * (len(events) - 1) + [True]


def test_an_end_sequence_is_found_inside_a_token_and_across_tokens(model: LocalModel) -> None:
    whole = model.generate(["the review"], GREEDY)[0].completions[0]
    for start in range(1, len(whole.text) - 2):
        stop = whole.text[start : start + 3]
        cut = model.generate(["the review"], replace(GREEDY, stop=(stop,)))[0].completions[0]
        assert cut.text == whole.text[: whole.text.find(stop)]
        assert (cut.stop, cut.finish_reason) == (stop, "stop_sequence")


def test_several_completions_are_those_of_their_seeds(model: LocalModel) -> None:
    parameters = replace(GREEDY, temperature=1.0, seed=5, n=3)
    found = model.generate(["the review is"], parameters)[0].completions
    alone = [
        model.generate(["the review is"], replace(parameters, seed=seed, n=1))[0].completions[0] for seed in (5, 6, 7)
    ]
    assert [c.text for c in found] == [c.text for c in alone]
    assert [c.seed for c in found] == [5, 6, 7]


def test_best_of_returns_the_most_probable(model: LocalModel) -> None:
    drawn = model.generate(["a bad"], replace(GREEDY, temperature=1.0, seed=1, n=4, logprobs=0))[0].completions
    best = model.generate(["a bad"], replace(GREEDY, temperature=1.0, seed=1, best_of=4))[0].completions
    means = {c.text: (c.cumulative_logprob or 0) / len(c.tokens) for c in drawn}
    assert [c.text for c in best] == [max(means, key=lambda text: means[text])]


def test_scores_are_the_logprobs_that_echo_reads(model: LocalModel) -> None:
    labels = [" positive", " negative", " a good film"]
    score = model.score(["the review is"], labels)[0]
    for label, value in zip(labels, score.logprobs, strict=True):
        parameters = GenerationParameters(max_new_tokens=0, echo=True, logprobs=0)
        read = model.generate(["the review is" + label], parameters)[0].prompt_tokens
        wanted = sum(token.logprob or 0.0 for token in read[score.num_prompt_tokens :])
        assert abs(value - wanted) < 1e-4


def test_echo_gives_every_prompt_token_and_no_logprob_for_the_first(model: LocalModel) -> None:
    answer = model.generate(["the review is"], replace(GREEDY, max_new_tokens=1, echo=True, logprobs=2))[0]
    assert "".join(token.text for token in answer.prompt_tokens) == "the review is"
    assert answer.prompt_tokens[0].logprob is None
    assert all(token.logprob is not None and len(token.top) == 2 for token in answer.prompt_tokens[1:])
    assert len(answer.completions[0].tokens) == 1


def test_token_ids_are_continued_as_their_text_is(model: LocalModel) -> None:
    ids = tuple(model.tokenizer.encode("the review is"))
    both = asyncio.run(_generate(model, ["the review is", ids]))
    assert both[0].completions == both[1].completions
    vectors = asyncio.run(_embed(model, ["the review is", ids]))
    assert np.array_equal(vectors[0], vectors[1])


async def _generate(model: LocalModel, prompts: list[Prompt]) -> list[Generation]:
    asynchronous = model.asynchronous()
    return [await asynchronous.generate(prompt, GREEDY) for prompt in prompts]


async def _embed(model: LocalModel, prompts: list[Prompt]) -> list[NDArray[np.float32]]:
    asynchronous = model.asynchronous()
    return [await asynchronous.embed(prompt) for prompt in prompts]


@pytest.mark.parametrize("ids", [(), (-1,), (5, 10**6), (2**40,)])
def test_token_ids_that_the_model_does_not_have_are_refused(model: LocalModel, ids: tuple[int, ...]) -> None:
    with pytest.raises(InvalidInputError):
        asyncio.run(_generate(model, [ids]))


def test_an_echo_has_the_decoded_prompt(model: LocalModel) -> None:
    answer = model.generate(["the review is"], replace(GREEDY, max_new_tokens=1, echo=True))[0]
    assert answer.prompt_text == "the review is"
    assert model.generate(["the review is"], GREEDY)[0].prompt_text == ""


def test_a_text_is_tokenized_with_its_places(model: LocalModel) -> None:
    text = "the review is 🙂 good"
    spans = model.tokenize(text)
    assert [span.id for span in spans] == model.tokenizer.encode(text)
    assert all(text[span.start : span.stop] == span.text for span in spans if span.stop)
    bare = model.tokenize(text, add_special=False)
    assert bare == spans[model.tokenizer.num_prefix_tokens :]


def test_labels_that_begin_each_other_are_both_scored(model: LocalModel) -> None:
    one, two = model.score(["the review is"], [" p", " positive"])[0].logprobs
    assert one < 0
    assert two < 0


def test_an_embedding_is_the_same_alone_and_among_others(model: LocalModel) -> None:
    texts = ["the review is", "a bad film", "the review is negative"]
    vectors = model.embed(texts)
    assert vectors.shape == (3, model.info.hidden_size)
    assert np.abs(model.embed(texts[2:])[0] - vectors[2]).max() < 1e-4


def test_the_state_behind_a_layer_is_that_of_transformers(model: LocalModel) -> None:
    texts = ["the review is", "a bad film", "the review is negative"]
    reference: Any = AutoModelForCausalLM.from_pretrained(checkpoint("llama"), dtype=torch.float32).eval()
    found = {layer: model.embed(texts, layer=layer) for layer in (*range(1, model.info.num_layers), None)}
    for row, ids in enumerate(model.encode_prompts(texts)):
        with torch.inference_mode():
            states = reference(torch.tensor([ids]), output_hidden_states=True).hidden_states
        for layer, vectors in found.items():
            wanted = states[-1 if layer is None else layer][0, -1].numpy()
            assert np.abs(vectors[row] - wanted).max() < 1e-4


def test_states_of_different_layers_are_read_in_one_step(model: LocalModel) -> None:
    asynchronous = model.asynchronous()

    async def side_by_side() -> list[NDArray[np.float32]]:
        return await asyncio.gather(*(asynchronous.embed("the review is", layer=layer) for layer in (None, 1, None)))

    found = asyncio.run(side_by_side())
    for vector, layer in zip(found, (None, 1, None), strict=True):
        assert np.abs(vector - model.embed(["the review is"], layer=layer)[0]).max() < 1e-4


@pytest.mark.parametrize("layer", [-1, 0, 3, 10**9])
def test_a_layer_that_there_is_not_is_refused_by_name(model: LocalModel, layer: int) -> None:
    assert model.info.num_layers == 3
    with pytest.raises(InvalidParameterError, match="`layer` must be from 1 to 2"):
        model.embed(["the review is"], layer=layer)


def test_a_pinned_prefix_is_read_from_the_cache_by_the_first_query() -> None:
    made = make()
    prefix = "the review is positive and the review is negative; "
    made.pin(prefix)
    made.pin(prefix)
    answer = made.generate([prefix + "a good film"], GREEDY)[0]
    assert answer.num_cached_tokens >= made.count_tokens(prefix) - 1
    made.unpin(prefix)
    made.unpin("never pinned")
    made.loop.call(lambda engine: engine.check_integrity())
    made.close()


def test_a_prompt_over_the_context_says_both_counts(model: LocalModel) -> None:
    with pytest.raises(PromptTooLongError, match=r"\d+ tokens and 12 new tokens .* holds 640"):
        model.generate(["the review is " * 400], GREEDY)


@pytest.mark.parametrize("prompt", ["", "\ud800"])
def test_a_prompt_that_is_no_text_is_refused(model: LocalModel, prompt: str) -> None:
    with pytest.raises(InvalidInputError):
        model.generate(["the review", prompt], GREEDY)


def test_an_empty_continuation_is_refused(model: LocalModel) -> None:
    with pytest.raises(InvalidInputError, match="empty"):
        model.score(["the review is"], [" good", ""])


def test_a_bias_on_a_token_that_does_not_exist_is_refused(model: LocalModel) -> None:
    with pytest.raises(InvalidParameterError, match="logit_bias"):
        model.generate(["the"], replace(GREEDY, logit_bias=((10_000, 1.0),)))


def test_a_stream_that_is_closed_frees_what_it_held(model: LocalModel) -> None:
    stream = model.stream("the review is", replace(GREEDY, max_new_tokens=500, ignore_eos=True))
    next(stream)
    stream.close()  # type: ignore[attr-defined]
    model.generate(["the"], GREEDY)
    model.loop.call(lambda engine: engine.check_integrity())
    assert model.stats().num_running == 0


def test_a_full_queue_refuses_at_once_and_loses_nothing() -> None:
    made = make(max_running_requests=1, max_queued_requests=2)
    asynchronous = made.asynchronous()

    async def ask() -> list[object]:
        asked = [asynchronous.generate("the review is", GREEDY) for _ in range(20)]
        return list(await asyncio.gather(*asked, return_exceptions=True))

    answers = asyncio.run(ask())
    refused = [answer for answer in answers if isinstance(answer, BusyError)]
    assert refused
    assert len({repr(a) for a in answers if not isinstance(a, Exception)}) <= 2  # first uncached, then cached
    assert made.stats().num_finished == 20 - len(refused)
    made.close()


def test_cancelling_one_changes_no_other() -> None:
    made = make()
    asynchronous = made.asynchronous()
    long = replace(GREEDY, max_new_tokens=300, ignore_eos=True)

    async def ask() -> str:
        doomed = [asyncio.ensure_future(asynchronous.generate(f"the review {i}", long)) for i in range(8)]
        kept = asyncio.ensure_future(asynchronous.generate("a good film", long))
        for task in doomed:
            await asyncio.sleep(0.005)
            task.cancel()
        return (await kept).completions[0].text

    assert asyncio.run(ask()) == made.generate(["a good film"], long)[0].completions[0].text
    made.loop.call(lambda engine: engine.check_integrity())
    assert made.stats().num_running == 0
    made.close()


def test_max_time_ends_a_text_with_what_it_has(model: LocalModel) -> None:
    parameters = replace(GREEDY, max_new_tokens=600, max_time=0.05, ignore_eos=True)
    completion = model.generate(["the"], parameters)[0].completions[0]
    assert completion.finish_reason == "max_time"
    assert len(completion.tokens) < 600


def test_a_request_past_its_deadline_fails_and_frees_its_memory() -> None:
    made = make(request_timeout_s=0.05)
    with pytest.raises(RequestTimeoutError):
        made.generate(["the"], replace(GREEDY, max_new_tokens=600, ignore_eos=True))
    made.loop.call(lambda engine: engine.check_integrity())
    made.close()


def test_closing_finishes_what_was_accepted_and_takes_nothing_more() -> None:
    made = make()
    answers: list[str] = []
    long = replace(GREEDY, max_new_tokens=200, ignore_eos=True)
    asker = threading.Thread(target=lambda: answers.append(made.generate(["the"], long)[0].completions[0].text))
    asker.start()
    while not made.stats().num_running:
        pass
    made.close()
    asker.join()
    assert len(answers) == 1
    with pytest.raises(NotReadyError):
        made.generate(["the"], GREEDY)
    made.close()


@pytest.mark.parametrize("failure", [RuntimeError("device lost"), SystemExit(1)])
def test_when_the_engine_dies_every_request_ends_with_an_error(failure: BaseException) -> None:
    made = make()

    def fail(works: object) -> tuple[Sequence[Work], torch.Tensor]:
        raise failure

    made.loop.call(lambda engine: setattr(engine.runner, "run", fail))
    for _ in range(3):
        with pytest.raises(EngineError):
            made.generate(["the"] * 4, GREEDY)
    made.loop._thread.join(1.0)
    assert not made.stats().is_alive
    with pytest.raises(EngineError):
        made.generate(["the"], GREEDY)
    made.close()


def test_one_failed_step_is_no_death() -> None:
    made = make()
    whole = made.generate(["the review"], GREEDY)
    run = made.loop._engine.runner.run
    calls = iter([True])

    def fail_once(works: object) -> tuple[Sequence[Work], torch.Tensor]:
        if next(calls, False):
            raise RuntimeError("out of memory")
        return run(works)  # type: ignore[arg-type]

    made.loop.call(lambda engine: setattr(engine.runner, "run", fail_once))
    with pytest.raises(EngineError):
        made.generate(["a good film"], GREEDY)
    assert made.generate(["the review"], GREEDY)[0].completions == whole[0].completions
    made.loop.call(lambda engine: engine.check_integrity())
    made.close()


def test_a_step_whose_reading_fails_ends_its_requests_and_no_others() -> None:
    made = make()
    whole = made.generate(["the review"], GREEDY)
    read = made.loop._engine.readout.read

    def fail(*arguments: object) -> object:
        raise RuntimeError("no such row")

    made.loop.call(lambda engine: setattr(engine.readout, "read", fail))
    for _ in range(5):
        with pytest.raises(EngineError):
            made.generate(["a good film", "a bad one"], GREEDY)
    made.loop.call(lambda engine: setattr(engine.readout, "read", read))
    assert made.generate(["the review"], GREEDY)[0].completions == whole[0].completions
    made.loop.call(lambda engine: engine.check_integrity())
    made.close()


@pytest.mark.parametrize(
    "parameters",
    [
        {"temperature": 1e-45},
        {"temperature": 1.0, "repetition_penalty": 1e-40},
        {"temperature": 1e-6, "repetition_penalty": 1e-36, "typical_p": 0.5, "logprobs": 2},
    ],
)
def test_no_parameters_end_the_engine(model: LocalModel, parameters: dict[str, Any]) -> None:
    made = model.generate(["the review"], GenerationParameters(max_new_tokens=3, seed=1, **parameters))
    assert len(made[0].completions[0].tokens) == 3
    assert model.stats().is_alive


def test_a_token_that_the_model_does_not_have_ends_nothing(tmp_path: Path) -> None:
    folder = tmp_path / "model"
    shutil.copytree(checkpoint("llama"), folder)
    added = [{"id": i, "content": f"<{i}>", **_ADDED} for i in range(307, 330)]  # the model has 320
    _change(folder / "tokenizer.json", lambda old: {"added_tokens": old["added_tokens"] + added})
    _change(folder / "tokenizer_config.json", lambda _: {"eos_token": "<329>"})
    for name in ("config.json", "generation_config.json"):
        _change(folder / name, lambda _: {"eos_token_id": None})
    made = load(str(folder), configuration=Settings(precision="float32", kv_memory_mb=16))
    (generation,) = made.generate(["the review"], GenerationParameters(max_new_tokens=4, min_new_tokens=2))
    assert len(generation.completions[0].tokens) == 4
    with pytest.raises(InvalidParameterError, match="no token that says where a text ends"):
        made.generate(["the review"], GenerationParameters(max_new_tokens=9, choices=("the", "the review")))
    made.close()


def _change(file: Path, to: Callable[[dict[str, Any]], dict[str, Any]]) -> None:
    described = json.loads(file.read_text())
    file.write_text(json.dumps(described | to(described)))


def test_what_long_lines_begin_with_is_not_remembered(model: LocalModel) -> None:
    before = model._continuation_ids.cache_info().currsize
    with pytest.raises(PromptTooLongError):
        model.score(["word " * 5000], [" a", " b"])
    assert model._continuation_ids.cache_info().currsize == before
    model.score(["word"], [" a", " b"])
    assert model._continuation_ids.cache_info().currsize == before + 2

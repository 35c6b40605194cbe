"""Architectures outside the native list, through Transformers: the same answers as Transformers' own loop gives."""

import json
import shutil
import threading
from collections.abc import Iterator
from dataclasses import replace
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

from handful.config import Settings
from handful.errors import BusyError, CheckpointError, InvalidInputError, InvalidParameterError, PromptTooLongError
from handful.local.model import LocalModel
from handful.local.transformers_backend import transformers_model
from handful.local.transformers_runner import Held, fork
from handful.model.source import ModelFiles
from handful.types import GenerationParameters
from tests.unit.model.tiny_models import VOCAB_SIZE, tokenizer, write_checkpoint

SIZES = {"hidden_size": 48, "num_hidden_layers": 2, "num_attention_heads": 4, "intermediate_size": 80}
# Rotary on part of a head; ALiBi; soft caps, sliding layers and scaled embeddings; a recurrent state; no cache at all.
ARCHITECTURES: dict[str, dict[str, Any]] = {
    "phi": SIZES | {"max_position_embeddings": 256},
    "bloom": {"hidden_size": 48, "n_layer": 2, "n_head": 4},
    "gemma2": SIZES | {"num_key_value_heads": 2, "head_dim": 12, "sliding_window": 16, "max_position_embeddings": 256},
    "mamba": {"hidden_size": 48, "num_hidden_layers": 2, "state_size": 8},
    "openai-gpt": {"n_embd": 48, "n_layer": 2, "n_head": 4, "n_positions": 256},
}
PROMPT = "Text: the review is a good film\nLabel:"
LABELS = [" positive", " negative", " neither of them", " p"]


def files_of(folder: Path) -> ModelFiles:
    return ModelFiles(name="tiny", folder=folder, source="a test", revision="")


@cache
def folder_of(architecture: str) -> Path:
    return write_checkpoint(architecture, ARCHITECTURES[architecture])


@cache
def loaded(architecture: str) -> LocalModel:
    return transformers_model(files_of(folder_of(architecture)), "float32", "cpu", Settings(request_timeout_s=60))


@pytest.fixture(scope="module", autouse=True)
def close_models() -> Iterator[None]:
    yield
    for architecture in ARCHITECTURES:
        loaded(architecture).close()
    loaded.cache_clear()


@pytest.fixture(params=ARCHITECTURES)
def model(request: pytest.FixtureRequest) -> LocalModel:
    return loaded(str(request.param))


@pytest.fixture
def phi() -> LocalModel:
    return loaded("phi")


@cache
def reference(architecture: str) -> Any:
    from transformers import AutoModelForCausalLM

    return AutoModelForCausalLM.from_pretrained(folder_of(architecture), dtype=torch.float32).eval()


def reference_logprobs(model: LocalModel, text: str) -> tuple[list[int], Tensor]:
    """Ids of a text, and at each position the log-probabilities of what comes next, without any cache."""
    ids = tokenizer().encode(text).ids
    with torch.inference_mode():
        logits = reference(model.info.architecture)(torch.tensor([ids])).logits[0]
    return ids, logits.log_softmax(-1)


def greedy(model: LocalModel, text: str, count: int) -> list[int]:
    ids = list(tokenizer().encode(text).ids)
    start = len(ids)
    with torch.inference_mode():
        for _ in range(count):
            logits = reference(model.info.architecture)(torch.tensor([ids])).logits[0, -1]
            ids.append(int(logits.argmax()))
    return ids[start:]


def test_greedy_tokens_are_those_of_the_model(model: LocalModel) -> None:
    (generation,) = model.generate([PROMPT], GenerationParameters(max_new_tokens=12, ignore_eos=True))
    (completion,) = generation.completions
    assert [token.id for token in completion.tokens] == greedy(model, PROMPT, 12)
    assert completion.finish_reason == "length"
    assert generation.num_prompt_tokens == len(tokenizer().encode(PROMPT).ids)


def test_prompts_of_unequal_lengths_are_answered_in_order(model: LocalModel) -> None:
    prompts = [PROMPT, "a", "Text: " * 10]
    generations = model.generate(prompts, GenerationParameters(max_new_tokens=5, ignore_eos=True))
    for prompt, generation in zip(prompts, generations, strict=True):
        assert [token.id for token in generation.completions[0].tokens] == greedy(model, prompt, 5)


def test_scores_are_the_sums_of_the_models_log_probabilities(model: LocalModel) -> None:
    (score,) = model.score([PROMPT], LABELS)
    num_prompt = len(tokenizer().encode(PROMPT).ids)
    for label, found in zip(LABELS, score.logprobs, strict=True):
        ids, logprobs = reference_logprobs(model, PROMPT + label)
        wanted = sum(logprobs[i - 1, ids[i]].item() for i in range(num_prompt, len(ids)))
        assert found == pytest.approx(wanted, abs=1e-3)


def test_a_pinned_prefix_changes_no_answer(model: LocalModel) -> None:
    before = model.score([PROMPT], LABELS)[0]
    parameters = GenerationParameters(max_new_tokens=8, ignore_eos=True)
    text = model.generate([PROMPT], parameters)[0].completions[0].text
    model.pin(PROMPT[:30])
    try:
        after = model.score([PROMPT], LABELS)[0]
        assert after.logprobs == pytest.approx(before.logprobs, abs=1e-3)
        assert model.generate([PROMPT], parameters)[0].completions[0].text == text
    finally:
        model.unpin(PROMPT[:30])


def test_an_embedding_is_what_the_head_sees(model: LocalModel) -> None:
    vectors = model.embed(["the review", "a bad film"])
    assert vectors.shape == (2, model.info.hidden_size)
    assert vectors.dtype == np.float32
    wrapped = reference(model.info.architecture)
    with torch.inference_mode():
        logits = wrapped.get_output_embeddings()(torch.from_numpy(vectors))
    cap = getattr(wrapped.config, "final_logit_softcapping", None)
    if cap:
        logits = torch.tanh(logits / cap) * cap
    for text, row in zip(["the review", "a bad film"], logits, strict=True):
        _, logprobs = reference_logprobs(model, text)
        assert torch.allclose(row.log_softmax(-1), logprobs[-1], atol=1e-3)


def test_the_state_behind_a_layer_is_read_as_it_is(phi: LocalModel) -> None:
    with torch.inference_mode():
        states = reference("phi")(torch.tensor([phi.encode_prompts(["the review"])[0]]), output_hidden_states=True)
    wanted = states.hidden_states[1][0, -1].numpy()
    assert np.abs(phi.embed(["the review"], layer=1)[0] - wanted).max() < 1e-4


def test_a_pinned_prefix_is_read_from_the_cache(phi: LocalModel) -> None:
    parameters = GenerationParameters(max_new_tokens=1)
    assert phi.generate([PROMPT], parameters)[0].num_cached_tokens == 0
    phi.pin(PROMPT)
    phi.pin("Text: ")
    shared = len(tokenizer().encode(PROMPT).ids)
    assert phi.generate([PROMPT + " the film"], parameters)[0].num_cached_tokens >= shared - 1
    phi.unpin(PROMPT)
    phi.unpin("Text: ")
    assert phi.generate([PROMPT + " the film"], parameters)[0].num_cached_tokens == 0


def test_a_text_is_the_most_probable_token_of_the_choices_and_what_must_follow(model: LocalModel) -> None:
    labels = (" positive and more", " negative and more", " positive and less")
    parameters = GenerationParameters(max_new_tokens=40, choices=labels)
    (completion,) = model.generate([PROMPT], parameters)[0].completions
    (told,) = model.generate([PROMPT], replace(parameters, logprobs=0))[0].completions
    assert completion.text in labels
    assert [token.id for token in completion.tokens] == [token.id for token in told.tokens]
    (score,) = model.score([PROMPT], [completion.text])
    assert told.cumulative_logprob == pytest.approx(score.logprobs[0], abs=1e-3)


def test_a_stop_sequence_ends_the_text(phi: LocalModel) -> None:
    parameters = GenerationParameters(max_new_tokens=20, ignore_eos=True)
    text = phi.generate([PROMPT], parameters)[0].completions[0].text
    stop = text[4:6]
    stopped = phi.generate([PROMPT], GenerationParameters(max_new_tokens=20, ignore_eos=True, stop=(stop,)))
    completion = stopped[0].completions[0]
    assert completion.text == text[: text.index(stop)]
    assert (completion.stop, completion.finish_reason) == (stop, "stop_sequence")


def test_the_same_seed_gives_the_same_text_whatever_else_runs(phi: LocalModel) -> None:
    parameters = GenerationParameters(max_new_tokens=10, temperature=1.0, seed=7, ignore_eos=True)
    alone = phi.generate([PROMPT], parameters)[0].completions[0].text
    together = phi.generate(["a", PROMPT, "the film"], parameters)[1].completions[0].text
    assert alone == together
    other = GenerationParameters(max_new_tokens=10, temperature=1.0, seed=8, ignore_eos=True)
    assert phi.generate([PROMPT], other)[0].completions[0].text != alone


def test_the_prompt_is_echoed_with_its_log_probabilities(phi: LocalModel) -> None:
    parameters = GenerationParameters(max_new_tokens=1, echo=True, logprobs=2)
    (generation,) = phi.generate([PROMPT], parameters)
    ids, logprobs = reference_logprobs(phi, PROMPT)
    assert [token.id for token in generation.prompt_tokens] == ids
    assert generation.prompt_tokens[0].logprob is None
    for i, token in enumerate(generation.prompt_tokens[1:], start=1):
        assert token.logprob == pytest.approx(logprobs[i - 1, ids[i]].item(), abs=1e-4)
        assert len(token.top) == 2


def test_a_stream_joins_to_the_text(phi: LocalModel) -> None:
    parameters = GenerationParameters(max_new_tokens=10, ignore_eos=True)
    events = list(phi.stream(PROMPT, parameters))
    assert "".join(event.text for event in events) == phi.generate([PROMPT], parameters)[0].completions[0].text
    assert events[-1].generation is not None
    assert sum(event.token is not None for event in events) == 10


def test_a_stream_that_is_closed_frees_its_cache(phi: LocalModel) -> None:
    stream = phi.stream(PROMPT, GenerationParameters(max_new_tokens=200, ignore_eos=True))
    next(stream)
    stream.close()  # type: ignore[attr-defined]
    phi.generate(["a"], GenerationParameters(max_new_tokens=1))
    stats = phi.stats()
    assert stats.num_running == 0
    assert stats.num_free_slots == stats.num_slots


def test_requests_take_turns(phi: LocalModel) -> None:
    stream = phi.stream(PROMPT, GenerationParameters(max_new_tokens=200, ignore_eos=True))
    next(stream)
    assert phi.generate(["a"], GenerationParameters(max_new_tokens=2, ignore_eos=True))[0].completions[0].text
    assert next(stream).generation is None
    stream.close()  # type: ignore[attr-defined]


def test_bad_requests_are_refused_as_by_a_native_model(phi: LocalModel) -> None:
    with pytest.raises(PromptTooLongError):
        phi.generate(["a" * 600], GenerationParameters(max_new_tokens=1))
    with pytest.raises(InvalidInputError):
        phi.generate([""], GenerationParameters())
    with pytest.raises(InvalidInputError):
        phi.score([PROMPT], [""])
    with pytest.raises(InvalidParameterError):
        phi.generate([PROMPT], GenerationParameters(logit_bias=((VOCAB_SIZE, 1.0),), max_new_tokens=1))


def test_a_full_queue_refuses_an_asynchronous_caller(phi: LocalModel) -> None:
    used = Settings(max_queued_requests=1, max_running_requests=1)
    small = transformers_model(files_of(folder_of("phi")), "float32", "cpu", used)
    go = threading.Event()
    holder = threading.Thread(target=small.loop.call, args=(lambda engine: go.wait(10),))
    holder.start()
    try:
        jobs = [small.generation_job((1, 2), GenerationParameters(max_new_tokens=1), lambda: None) for _ in range(2)]
        small.loop.submit(jobs[0].requests, jobs[0].on_event)
        with pytest.raises(BusyError):
            small.loop.submit(jobs[1].requests, jobs[1].on_event)
    finally:
        go.set()
        holder.join()
        small.close()


def test_the_info_and_the_log_say_that_it_runs_through_transformers(caplog: pytest.LogCaptureFixture) -> None:
    model = transformers_model(files_of(folder_of("phi")), "bfloat16", "cpu", Settings())
    model.close()
    assert (model.info.engine, model.info.architecture) == ("transformers", "phi")
    assert (model.info.precision, model.info.context_length, model.info.vocab_size) == ("bfloat16", 256, VOCAB_SIZE)
    assert model.info.num_parameters == sum(p.numel() for p in reference("phi").parameters())
    assert "runs through Transformers" in caplog.text


def test_code_in_a_checkpoint_is_never_run(tmp_path: Path) -> None:
    folder = tmp_path / "model"
    shutil.copytree(folder_of("phi"), folder)
    config = json.loads((folder / "config.json").read_text())
    config |= {"model_type": "own", "auto_map": {"AutoConfig": "own.Own", "AutoModelForCausalLM": "own.Model"}}
    (folder / "config.json").write_text(json.dumps(config))
    marker = tmp_path / "ran"
    (folder / "own.py").write_text(f"open({str(marker)!r}, 'w').close()")
    with pytest.raises(CheckpointError, match="can't load"):
        transformers_model(files_of(folder), "float32", "cpu", Settings())
    assert not marker.exists()


def test_a_checkpoint_without_a_head_is_refused(tmp_path: Path) -> None:
    from safetensors.torch import load_file, save_file

    folder = tmp_path / "model"
    shutil.copytree(folder_of("phi"), folder)
    weights = {name: x for name, x in load_file(folder / "model.safetensors").items() if "lm_head" not in name}
    save_file(weights, folder / "model.safetensors", {"format": "pt"})
    with pytest.raises(CheckpointError, match="lm_head"):
        transformers_model(files_of(folder), "float32", "cpu", Settings())


def test_a_truncated_checkpoint_is_refused(tmp_path: Path) -> None:
    folder = tmp_path / "model"
    shutil.copytree(folder_of("phi"), folder)
    weights = folder / "model.safetensors"
    weights.write_bytes(weights.read_bytes()[:-100])
    with pytest.raises(CheckpointError, match="can't load tiny"):
        transformers_model(files_of(folder), "float32", "cpu", Settings())


def test_a_forked_cache_leaves_the_first_as_it_was() -> None:
    from transformers.cache_utils import DynamicCache

    past = DynamicCache()
    past.update(torch.ones(1, 1, 3, 2), torch.ones(1, 1, 3, 2), 0)
    forked = fork(Held(past, 3), 2)
    forked.update(torch.zeros(1, 1, 1, 2), torch.zeros(1, 1, 1, 2), 0)
    assert past.layers[0].keys.tolist() == torch.ones(1, 1, 3, 2).tolist()
    assert forked.layers[0].keys[0, 0].tolist() == [[1, 1], [1, 1], [0, 0]]

"""Every native family computes what Transformers computes: float32, logits within 1e-4, on 600 tokens."""

from dataclasses import replace
from functools import cache
from pathlib import Path

import pytest
import torch
from torch import Tensor

from handful.model.calibration import OneSequence
from handful.model.checkpoint import Checkpoint, read_config
from handful.model.decoder import Decoder
from handful.model.families import spec_from_config
from tests.unit.model.naive_attention import NaiveCache, naive_logits, run_step
from tests.unit.model.tiny_models import FAMILIES, VARIANTS, checkpoint, random_tokens, reference, reference_logits

TOLERANCE = 1e-4
CPU = torch.device("cpu")


def load_from(folder: Path, dtype: torch.dtype = torch.float32) -> Decoder:
    with Checkpoint(folder) as opened:
        return Decoder.load(spec_from_config(read_config(folder)), opened, dtype, CPU)


@cache
def decoder_of(variant: str) -> Decoder:
    return load_from(checkpoint(variant))


@cache
def expected(variant: str, length: int = 600, seed: int = 1) -> Tensor:
    return reference_logits(variant, random_tokens(length, seed))


def assert_close(found: Tensor, wanted: Tensor) -> None:
    assert found.dtype == torch.float32
    assert (found - wanted).abs().max().item() < TOLERANCE


@pytest.mark.parametrize("variant", VARIANTS)
def test_logits_agree_with_transformers(variant: str) -> None:
    assert_close(naive_logits(decoder_of(variant), random_tokens(600)), expected(variant))


@pytest.mark.parametrize("variant", VARIANTS)
def test_the_logits_compared_are_far_from_uniform(variant: str) -> None:
    assert expected(variant).std().item() > 0.3


@pytest.mark.parametrize("variant", FAMILIES)
def test_a_prefill_in_chunks_gives_the_same_logits(variant: str) -> None:
    decoder = decoder_of(variant)
    request = NaiveCache(decoder.spec)
    pieces = [run_step(decoder, [request], [part])[0] for part in torch.split(random_tokens(600), [1, 250, 299, 49, 1])]
    assert_close(torch.cat(pieces), expected(variant))


@pytest.mark.parametrize("variant", FAMILIES)
def test_a_batch_of_unequal_lengths_gives_each_its_own_logits(variant: str) -> None:
    decoder = decoder_of(variant)
    lengths = [600, 3, 77]
    requests = [NaiveCache(decoder.spec) for _ in lengths]
    found = run_step(decoder, requests, [random_tokens(length, seed=length) for length in lengths])
    for logits, length in zip(found, lengths, strict=True):
        assert_close(logits, expected(variant, length, seed=length))


@pytest.mark.parametrize("variant", FAMILIES)
def test_prefill_and_decoding_share_a_step(variant: str) -> None:
    decoder = decoder_of(variant)
    first, second = NaiveCache(decoder.spec), NaiveCache(decoder.spec)
    tokens = random_tokens(600)
    run_step(decoder, [first], [tokens[:599]])
    decoded, prefilled = run_step(decoder, [first, second], [tokens[599:], random_tokens(50, seed=50)])
    assert_close(decoded, expected(variant)[599:])
    assert_close(prefilled, expected(variant, 50, seed=50))


@pytest.mark.parametrize("variant", ["gpt_neo", "gpt_neo-small-window", "mistral", "qwen2"])
def test_a_window_matters_beyond_its_length(variant: str) -> None:
    decoder = decoder_of(variant)
    unlimited = load_from(checkpoint(variant))
    unlimited.spec = replace(decoder.spec, windows=(None,) * decoder.spec.num_layers)
    window = min(w for w in decoder.spec.windows if w is not None)
    found = naive_logits(unlimited, random_tokens(600))
    assert_close(found[:window], expected(variant)[:window])
    assert (found[-1] - expected(variant)[-1]).abs().max().item() > 100 * TOLERANCE


@pytest.mark.parametrize("variant", FAMILIES)
def test_bfloat16_stays_near_float32(variant: str) -> None:
    decoder = load_from(checkpoint(variant), torch.bfloat16)
    found = naive_logits(decoder, random_tokens(100))
    wanted = expected(variant, 100)
    assert found.dtype == torch.float32
    correlation = torch.corrcoef(torch.stack((found.flatten(), wanted.flatten())))[0, 1].item()
    assert correlation > 0.98


@pytest.mark.parametrize("variant", VARIANTS)
def test_parameters_are_counted_as_transformers_counts_them(variant: str) -> None:
    assert decoder_of(variant).num_parameters == sum(p.numel() for p in reference(variant).parameters())


def test_a_position_past_a_learned_table_is_an_error_not_a_wrong_answer() -> None:
    decoder = decoder_of("gpt_neo")
    with pytest.raises(IndexError):
        run_step(decoder, [NaiveCache(decoder.spec)], [random_tokens(decoder.spec.context_length + 1)])


def test_forward_leaves_its_inputs_as_they_were() -> None:
    decoder = decoder_of("llama")
    hidden = torch.randn(4, decoder.spec.hidden_size)
    before = hidden.clone()
    with torch.inference_mode():
        decoder.logits(decoder.final_norm(hidden))
    assert torch.equal(hidden, before)


@pytest.mark.parametrize("rows", [[5], [0, 3, 7], []])
@pytest.mark.parametrize("variant", FAMILIES)
def test_rows_that_are_asked_for_are_those_of_the_whole(variant: str, rows: list[int]) -> None:
    decoder, tokens, wanted = decoder_of(variant), random_tokens(8), torch.tensor(rows, dtype=torch.int64)
    positions, attend = torch.arange(8), OneSequence(decoder.spec)
    with torch.inference_mode():
        whole = decoder.forward(tokens, positions, attend)
        found = decoder.forward(tokens, positions, attend, wanted)
    assert torch.allclose(found, whole[wanted], atol=1e-5)

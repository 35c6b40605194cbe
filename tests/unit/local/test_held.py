"""A model behind keys and values that were given to it."""

import asyncio
from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest
import torch
from transformers import AutoModelForCausalLM

from handful.errors import InvalidInputError
from handful.local import LocalModel
from handful.types import TunedPrefix
from tests.unit.local.test_lifetimes import check_nothing_is_held
from tests.unit.local.test_local_model import make
from tests.unit.model.tiny_models import checkpoint

PREFIX = "the review is good\n\n"
ASKED = ["a good film: the review is", "the film is not good: the review is"]
LABELS = [" positive", " negative"]


@pytest.fixture
def model() -> Iterator[LocalModel]:
    made = make()
    yield made
    made.close()


def kept_of(model: LocalModel, text: str) -> TunedPrefix:
    """What Transformers' own model keeps of a text."""
    network: Any = AutoModelForCausalLM.from_pretrained(checkpoint("llama"), dtype=torch.float32)
    ids = torch.tensor([model.encode_prompts([text])[0]])
    with torch.no_grad():
        layers = network(ids, use_cache=True).past_key_values.layers
    kept = [torch.stack([getattr(one, name)[0].transpose(0, 1) for one in layers]) for name in ("keys", "values")]
    return TunedPrefix(*(one.contiguous().numpy() for one in kept))


def test_behind_what_a_text_left_scores_are_those_behind_the_text(model: LocalModel) -> None:
    expected = model.score([PREFIX + asked for asked in ASKED], LABELS)
    found = model.score_behind(kept_of(model, PREFIX), ASKED, LABELS)
    for one, other in zip(found, expected, strict=True):
        np.testing.assert_allclose(one.logprobs, other.logprobs, atol=1e-4)
        assert one.num_prompt_tokens == other.num_prompt_tokens
        assert one.num_cached_tokens >= model.count_tokens(PREFIX)


def test_two_prefixes_of_one_length_are_kept_apart(model: LocalModel) -> None:
    kept = kept_of(model, PREFIX)
    other = TunedPrefix(kept.keys, -kept.values)
    first, second = model.score_behind(kept, ASKED, LABELS), model.score_behind(other, ASKED, LABELS)
    assert first != second
    assert model.score_behind(kept, ASKED, LABELS)[0].logprobs == pytest.approx(first[0].logprobs, abs=1e-5)


def test_a_held_prefix_outlives_an_emptied_cache_and_goes_with_its_user(model: LocalModel) -> None:
    prefix = kept_of(model, PREFIX)
    before = model.score_behind(prefix, ASKED, LABELS)[0].logprobs
    model.loop.call(lambda engine: engine.scheduler.cache.clear())
    assert model.score_behind(prefix, ASKED, LABELS)[0].logprobs == pytest.approx(before, abs=1e-5)
    del prefix
    model.held.sweep()
    check_nothing_is_held(model)


@pytest.mark.parametrize("part", [(0, 1), (1, 3)])
def test_keys_of_another_shape_are_refused(model: LocalModel, part: tuple[int, int]) -> None:
    kept = kept_of(model, PREFIX)
    axis, size = part
    wrong = np.take(kept.keys, range(size), axis=axis) if axis == 0 else kept.keys[:, :size]
    with pytest.raises(InvalidInputError, match="keys and values of a prefix"):
        model.score_behind(TunedPrefix(wrong, kept.values), ASKED, LABELS)
    check_nothing_is_held(model)


def test_a_prompt_of_ids_can_not_name_a_held_prefix(model: LocalModel) -> None:
    prefix = kept_of(model, PREFIX)
    model.score_behind(prefix, ASKED, LABELS)
    with pytest.raises(InvalidInputError, match="ids go from 0"):
        model.encode_prompts([(-1, -2, 5)])


def test_an_event_loop_is_answered_alike(model: LocalModel) -> None:
    prefix = kept_of(model, PREFIX)
    (expected,) = model.score_behind(prefix, ASKED[:1], LABELS)
    again = TunedPrefix(prefix.keys, prefix.values)  # not held yet
    found = asyncio.run(model.asynchronous().score_behind(again, ASKED[0], LABELS))
    np.testing.assert_allclose(found.logprobs, expected.logprobs, atol=1e-5)

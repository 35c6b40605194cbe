"""Counted arithmetic: what the roofline divides by."""

import pytest

from counted import Shape, operations, operations_together, read_bytes, shape_of
from handful.model.checkpoint import read_config
from handful.model.families import spec_from_config
from handful.model.layers import LINEAR_KINDS, num_weights
from tests.unit.model.tiny_models import checkpoint

TINY = Shape(layer_weights=1000, head_weights=500, windows=(2, 100), attention=8, key_value=4)


def test_each_weight_is_two_operations_a_token_and_the_head_is_used_where_a_token_is_drawn() -> None:
    flat = Shape(1000, 500, (), 8, 4)
    assert operations(flat, prompt=10, shared=0, new=3, requests=1) == 2 * 1000 * 12 + 2 * 500 * 3


def test_the_prefix_is_shared_by_all_requests() -> None:
    flat = Shape(1000, 500, (), 8, 4)
    alone, together = (operations(flat, 10, 6, 1, requests) for requests in (1, 4))
    assert alone - together == pytest.approx(2 * 1000 * 6 * 3 / 4)


def test_what_several_prompts_begin_with_is_counted_once_however_far_it_goes() -> None:
    alone = operations(TINY, prompt=5, shared=0, new=3, requests=1)
    first, second, third = (1, 2, 3, 4, 5), (1, 2, 3, 9, 9), (1, 2, 3, 9, 8)
    assert operations_together(TINY, [first], new=3) == alone
    assert operations_together(TINY, [first, first], new=1) == operations(TINY, 5, 5, 1, requests=2) * 2
    two = operations_together(TINY, [first, second], new=1)
    at_4 = 2 * 1000 + 4 * 8 * (2 + 5)  # the fifth token: two keys in the local layer, five in the other
    assert operations_together(TINY, [first, second, third], new=1) - two == at_4 + 2 * 500
    assert operations_together(TINY, [first], new=1, known=4) == at_4 + 2 * 500


def test_a_local_layer_sees_no_more_than_its_window() -> None:
    products = 2 * 1000 * 3 + 2 * 500
    assert operations(TINY, prompt=3, shared=0, new=1, requests=1) == products + 4 * 8 * ((1 + 2 + 2) + (1 + 2 + 3))


def test_each_sequential_step_reads_the_weights_and_the_keys_and_values_in_reach() -> None:
    assert read_bytes(TINY, prompt=10, steps=2, bytes_a_number=2, is_greedy=True) == 2 * 2 * (1500 + 4 * (2 + 10))


def test_a_greedy_pass_reads_half_of_a_head_in_bytes() -> None:
    whole = read_bytes(TINY, prompt=10, steps=2, bytes_a_number=1, is_greedy=False)
    assert whole - read_bytes(TINY, prompt=10, steps=2, bytes_a_number=1, is_greedy=True) == TINY.head_weights


@pytest.mark.parametrize("kind", ["llama", "gpt_neo"])
def test_a_shape_has_the_weights_of_the_checkpoints_layers(kind: str) -> None:
    spec, shape = spec_from_config(read_config(checkpoint(kind))), shape_of(str(checkpoint(kind)))
    assert shape.layer_weights == spec.num_layers * sum(num_weights(spec, linear) for linear in LINEAR_KINDS)
    assert len(shape.windows) == spec.num_layers


def test_a_kind_that_is_not_counted_is_named() -> None:
    with pytest.raises(SystemExit, match="not for opt"):
        shape_of(str(checkpoint("opt")))

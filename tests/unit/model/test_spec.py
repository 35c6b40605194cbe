"""What a spec says of its own sizes."""

from dataclasses import FrozenInstanceError

import pytest
import torch

from handful.model.checkpoint import read_config
from handful.model.families import spec_from_config
from handful.model.spec import ModelSpec
from tests.unit.model.tiny_models import checkpoint


def llama() -> ModelSpec:
    return spec_from_config(read_config(checkpoint("llama")))


def test_kv_bytes_count_both_halves_of_every_layer() -> None:
    assert llama().kv_bytes_per_token(torch.float32) == 3 * 2 * 2 * 8 * 4
    assert llama().kv_bytes_per_token(torch.bfloat16) == 3 * 2 * 2 * 8 * 2


def test_the_fused_product_has_fewer_key_rows_than_query_rows_in_grouped_attention() -> None:
    assert llama().qkv_sizes == (48, 16, 16)


def test_a_spec_is_frozen() -> None:
    with pytest.raises(FrozenInstanceError):
        llama().num_layers = 1  # type: ignore[misc]

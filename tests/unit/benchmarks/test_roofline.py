"""Shares of the machine's limits."""

import json
from pathlib import Path
from typing import Any

import pytest

from counted import operations, read_bytes, shape_of
from roofline import shares

LIMITS = {"avx512_float32_gflops": 100.0, "amx_bfloat16_gflops": 1000.0, "memory_read_gb_per_s": 10.0}
LLAMA = {
    "model_type": "llama",
    "hidden_size": 8,
    "intermediate_size": 16,
    "num_hidden_layers": 2,
    "num_attention_heads": 2,
    "num_key_value_heads": 1,
    "vocab_size": 32,
    "max_position_embeddings": 64,
}


@pytest.fixture
def folder(tmp_path: Path) -> str:
    (tmp_path / "config.json").write_text(json.dumps(LLAMA))
    return str(tmp_path)


def run(folder: str, precision: str) -> dict[str, Any]:
    counts = {"new_tokens": {"handful": 8}, "requests": {"handful": 4}, "prompt_tokens": 10, "shared_tokens": 6}
    results = {"W1": counts | {"requests_per_s": {"handful": 1e6}}, "W3": counts | {"p50_ms": {"handful": 0.01}}}
    engines = {"handful": {"version": f"handful 1, {precision}"}, "vllm": {"version": "vLLM"}}
    return {"model": folder, "processor": "this one", "engines": engines, "results": results}


def test_the_weights_are_counted_from_the_configuration(folder: str) -> None:
    shape = shape_of(folder)
    assert shape.layer_weights == 2 * (8 * 8 * 2 + 8 * 4 * 2 + 3 * 8 * 16)
    assert (shape.head_weights, shape.attention, shape.key_value) == (8 * 32, 8, 8)


def test_arithmetic_is_held_against_the_limit_of_the_precision(folder: str) -> None:
    done = operations(shape_of(folder), 10, 6, 8, 4) * 1e6 / 1e9
    for precision, limit in (("bfloat16", 1000.0), ("float32", 100.0), ("int8", 100.0)):
        found = next(iter(shares(run(folder, precision), "this one", LIMITS)))
        assert found["limit_gflops"] == limit
        assert found["share"] == pytest.approx(done / limit, rel=0.05)


def test_one_request_is_held_against_reading_the_weights(folder: str) -> None:
    found = list(shares(run(folder, "bfloat16"), "this one", LIMITS))[1]
    least_ms = read_bytes(shape_of(folder), 10, 8, 2, is_greedy=True) / 10 / 1e6
    assert found["share"] == pytest.approx(least_ms / 0.01, rel=0.05)


def test_one_request_reads_the_weights_as_often_as_its_steps_were_counted(folder: str) -> None:
    found = list(shares(run(folder, "bfloat16") | {"steps": {"bfloat16": 2.5}}, "this one", LIMITS))[1]
    assert found["steps"] == 2.5
    assert found["share"] == pytest.approx(
        read_bytes(shape_of(folder), 10, 2.5, 2, is_greedy=True) / 10 / 1e6 / 0.01, rel=0.05
    )


def test_results_of_another_processor_are_left_out(folder: str) -> None:
    assert list(shares(run(folder, "bfloat16"), "another", LIMITS)) == []

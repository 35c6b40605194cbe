"""Figures, tables and charts from the rounds of a run."""

from pathlib import Path
from typing import Any

import pytest

from charts import draw
from peers.figures import Figures, agreement
from peers.jobs import JOBS, Job
from peers.pipe import Round
from report import losses
from report_tables import peers


def work(count: int, new: int = 8) -> Round:
    return Round([[7, 7, i] for i in range(count)], [""] * count, new, [], one_by_one=False, shared=True)


def result() -> dict[str, Any]:
    """Two engines, two workloads; the peer does half as much in one and twice as much in the other."""
    found: dict[str, Any] = {"workload": "peers", "model": "tiny", "processor": "a CPU", "rounds": 2}
    about = {"version": "1", "load_seconds": 1.5, "peak_memory_mb": 10}
    found |= {"engines": {"handful": about, "openvino-fp16": about}, "results": {}}
    found["not_run"] = {"vllm": "has no GPT-Neo"}
    found["agreement"] = {"W1": {"handful": agreement([[1, 2]], [[1, 3]])}}
    for name, theirs in (("W1", 4.0), ("W5", 1.0)):
        figures = Figures(JOBS[name])
        for seconds in (2.0, 2.2):
            figures.add("handful", work(4), [seconds])
            figures.add("openvino-fp16", work(4), [theirs / 2 * seconds])
        found["results"][name] = figures.summary()
    return found


def test_rates_are_medians_and_ratios_are_taken_round_by_round() -> None:
    summary = result()["results"]["W1"]
    assert summary["requests_per_s"] == {"handful": pytest.approx(4 / 2.1, rel=1e-3), "openvino-fp16": 0.9524}
    assert summary["times_faster_than"] == {"openvino-fp16": 2.0}
    assert (summary["prompt_tokens"], summary["shared_tokens"]) == (3, 2)


def test_engines_that_got_fewer_requests_are_compared_by_the_request() -> None:
    figures = Figures(JOBS["W1"])
    figures.add("handful", work(4), [1.0])
    figures.add("transformers", work(2), [5.0])
    assert figures.summary()["times_faster_than"] == {"transformers": 10.0}


def test_latency_is_the_median_of_the_requests() -> None:
    figures = Figures(Job("", one_by_one=True))
    figures.add("handful", work(3), [0.1, 0.2, 0.9])
    figures.add("vllm", work(3), [0.5, 0.6, 0.7])
    assert figures.summary()["p50_ms"] == {"handful": 200.0, "vllm": 600.0}
    assert figures.summary()["times_faster_than"] == {"vllm": 3.0}


def test_agreement_counts_first_tokens_and_whole_answers() -> None:
    found = agreement([[1, 2], [3, 4], [5, 6]], [[1, 2], [3, 9]])
    assert found == {"same_first_token": "2 of 2", "same_tokens": "1 of 2"}


def test_the_tables_have_every_engine_and_why_one_is_not_there() -> None:
    text = "\n".join(peers(result()))
    assert "| openvino-fp16 | 0.9524 | 2x | 4 | 8 |" in text
    assert "| handful | 1 | 10 | 1.5 | 1 of 1, 0 of 1 |" in text
    assert "* vllm is not here: has no GPT-Neo." in text


def test_where_handful_loses_is_told() -> None:
    lines = losses([result()], has_peers=True)
    assert lines[0] == "W5, tiny, a CPU: slower than openvino-fp16 (0.5x)."
    assert any("--device cuda" in line for line in lines)


def test_a_gpu_that_was_measured_is_no_longer_missing() -> None:
    lines = losses([result(), result() | {"gpu": "a GPU"}], has_peers=True)
    assert not any("GPU" in line for line in lines)


def test_charts_are_the_same_at_every_run(tmp_path: Path) -> None:
    for folder in ("first", "second"):
        assert draw(result(), tmp_path / folder, "tiny") == ["tiny-shots", "tiny-workloads"]
    for name in ("tiny-shots", "tiny-workloads"):
        for ending in (".svg", ".png"):
            first, second = ((tmp_path / folder / name).with_suffix(ending) for folder in ("first", "second"))
            assert first.stat().st_size > 1000
            assert first.read_bytes() == second.read_bytes()

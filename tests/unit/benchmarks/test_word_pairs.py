"""Nearest against random examples: who answers what, and what is said of the difference."""

import argparse
import json
from pathlib import Path
from typing import Any

from tests.fakes import FakeBackend
from word_pairs import KINDS, WAYS, Cell, cells, document, measure, read_pairs, summaries, verdict

PAIRS = [(f"word{index}", f"WORD{index}") for index in range(700)]


def record(way: str, seed: int, exact_match: float) -> dict[str, Any]:
    found = {"task": "english-french", "shots": 8, "way": way, "seed": seed, "exact_match": exact_match, "chrf": 30.0}
    rest = {"num_queries": 200, "num_pool": 4498, "shared_example_tokens": 0.5, "queries_per_s": 9.0}
    return found | rest | {"model": "default", "precision": "bfloat16"}


def rows(*gains: float) -> list[dict[str, Any]]:
    random_ones = [record("random", seed, 0.1) for seed in range(len(gains))]
    return summaries([*random_ones, *(record("nearest", seed, 0.1 + gain) for seed, gain in enumerate(gains))])


def test_both_ways_answer_the_same_queries_out_of_the_part_that_is_measured() -> None:
    asked = {}
    for way in WAYS:
        backend = FakeBackend()
        found = measure(Cell("english-french", 4, way, 0), PAIRS, backend)
        asked[way] = sorted(prompt.rpartition("English: ")[2].partition("\n")[0] for prompt in backend.prompts)
        assert (found["num_queries"], found["num_pool"]) == (200, 500)
        shown = {part for prompt in backend.prompts for part in prompt.rpartition("English: ")[0].split("\n")}
        assert not {f"English: {word}" for word in asked[way]} & shown
    assert asked["random"] == asked["nearest"]
    assert not set(asked["random"]) & {word for word, _ in PAIRS[: KINDS["english-french"].num_chosen_on]}


def test_one_set_is_shared_and_a_set_for_each_is_not() -> None:
    shared = {
        way: measure(Cell("english-french", 4, way, 0), PAIRS, FakeBackend())["shared_example_tokens"] for way in WAYS
    }
    assert shared["random"] > 0.99 > shared["nearest"]


def test_an_input_that_is_there_twice_counts_once(tmp_path: Path) -> None:
    pairs = [{"input": "a", "output": "b"}, {"input": "a", "output": "c"}, {"input": "d", "output": "e"}]
    (tmp_path / "present-past.json").write_text(json.dumps(pairs), encoding="utf-8")
    assert sorted(read_pairs(tmp_path, KINDS["present-past"])) == [("a", "b"), ("d", "e")]


def test_a_run_that_is_cut_off_has_whole_comparisons() -> None:
    arguments = argparse.Namespace(seeds=2, tasks=["present-past"], shots=[8])
    assert [(cell.seed, cell.way) for cell in cells(arguments)] == [
        (0, "random"),
        (0, "nearest"),
        (1, "random"),
        (1, "nearest"),
    ]
    assert summaries([record("random", 0, 0.1), record("nearest", 0, 0.2), record("random", 1, 0.1)]) == []


def test_the_gain_is_taken_seed_by_seed_and_only_a_sure_one_is_called_better() -> None:
    (sure,), (unsure,), (worse,) = rows(0.04, 0.05, 0.06), rows(0.2, -0.1, 0.0), rows(-0.02, -0.01)
    assert (sure["gain"], sure["num_seeds"], sure["random"]["exact_match"]) == (5.0, 3, 10.0)
    assert verdict(sure).endswith("points: better.")
    assert verdict(unsure).endswith("within the luck of the draw.")
    assert verdict(worse).endswith("**not better**.")
    assert "| 8 | nearest | 15.0 | 1.0 | 14.0 | 30.0 | 50% | 9 |" in document([sure])


def test_the_committed_document_is_what_its_records_say() -> None:
    docs = Path(__file__).parents[3] / "docs"
    records = [json.loads(line) for line in (docs / "word-pairs.jsonl").read_text(encoding="utf-8").splitlines()]
    assert document(summaries(records)) == (docs / "word-pairs.md").read_text(encoding="utf-8")

"""Parting data into examples and queries, and drawing sets."""

from collections import Counter
from pathlib import Path

import pytest

from handful import Task
from handful.errors import InvalidInputError
from handful.evals.sets import Source, draw_set, load_data

TASK = Task(name="mood", input="Review: {text}", output="Mood: {output}", labels=("good", "bad"))
OPEN = Task(name="echo", input="In: {text}", output="Out: {output}")


def write(path: Path, *rows: tuple[str, str]) -> Path:
    path.write_text("text,label\n" + "".join(f"{text},{label}\n" for text, label in rows))
    return path


def many(count: int, start: int = 0) -> list[tuple[str, str]]:
    return [(f"text {i}", "good" if i % 2 else "bad") for i in range(start, start + count)]


def test_without_shots_every_row_is_asked(tmp_path: Path) -> None:
    found = load_data(Source(data=write(tmp_path / "a.csv", *many(10))), TASK)
    assert (len(found.queries), found.pool) == (10, ())


def test_a_part_is_set_aside_for_examples_the_same_at_every_run_and_never_asked(tmp_path: Path) -> None:
    source = Source(data=write(tmp_path / "a.csv", *many(50)), max_shots=4)
    found = load_data(source, TASK)
    assert found == load_data(source, TASK)
    assert (len(found.pool), len(found.queries)) == (10, 40)
    assert not {item.shown for item in found.pool} & {item.shown for item in found.queries}
    assert Counter(item.expected for item in found.pool) == {"good": 5, "bad": 5}


def test_a_training_row_whose_text_is_asked_is_no_example(tmp_path: Path) -> None:
    train = write(tmp_path / "train.csv", *many(10), *many(10, start=100))
    source = Source(data=write(tmp_path / "a.csv", *many(10)), train=train, max_shots=4)
    found = load_data(source, TASK)
    assert (len(found.pool), found.num_leaked, len(found.queries)) == (10, 10, 10)


def test_a_limit_draws_from_all_rows_and_keeps_their_order(tmp_path: Path) -> None:
    rows = [(f"text {i}", "good" if i < 50 else "bad") for i in range(100)]
    found = load_data(Source(data=write(tmp_path / "a.csv", *rows), limit=20), TASK)
    places = [int(item.place.split()[1]) for item in found.queries]
    assert len(places) == 20
    assert places == sorted(places)
    assert {item.expected for item in found.queries} == {"good", "bad"}


@pytest.mark.parametrize("shots", [1, 2, 5, 8])
def test_sets_are_balanced(shots: int, tmp_path: Path) -> None:
    pool = load_data(Source(data=write(tmp_path / "a.csv", *many(60)), max_shots=8), TASK).pool
    for seed in range(5):
        counts = Counter(item.expected for item in draw_set(pool, TASK, shots, seed))
        assert abs(counts["good"] - counts["bad"]) == shots % 2


def test_seeds_draw_other_sets_and_orders_show_the_same_set_otherwise(tmp_path: Path) -> None:
    pool = load_data(Source(data=write(tmp_path / "a.csv", *many(100)), max_shots=8), TASK).pool
    sets = [draw_set(pool, TASK, 8, seed) for seed in range(4)]
    assert len({frozenset(item.place for item in one) for one in sets}) == 4
    orders = [draw_set(pool, TASK, 8, 0, order) for order in range(4)]
    assert len({tuple(item.place for item in one) for one in orders}) == 4
    assert len({frozenset(item.place for item in one) for one in orders}) == 1


def test_a_larger_set_of_a_seed_holds_the_smaller_one(tmp_path: Path) -> None:
    pool = load_data(Source(data=write(tmp_path / "a.csv", *many(60)), max_shots=8), TASK).pool
    small, large = draw_set(pool, TASK, 4, 2), draw_set(pool, TASK, 8, 2)
    assert {item.place for item in small} < {item.place for item in large}


def test_an_open_task_draws_from_all(tmp_path: Path) -> None:
    pool = load_data(Source(data=write(tmp_path / "a.csv", *many(20)), max_shots=3), OPEN).pool
    assert len(pool) == 4
    assert len({item.place for item in draw_set(pool, OPEN, 3, 0)}) == 3


@pytest.mark.parametrize(
    ("rows", "train", "shots", "told"),
    [
        (many(6), None, 8, r"3 rows labelled `good`: too few for 4 as examples and one to ask.*--train"),
        (many(10), many(4, start=50), 8, r"training part has 2 rows labelled `good`.*8 shots need 4"),
        (many(10), many(10), 2, r"0 rows labelled `good` \(10 more have a text that is asked"),
        ([("a", "good"), ("b", "good")], None, 0, r"All 2 rows"),
    ],
)
def test_too_few_rows_are_named_with_a_way_out(
    rows: list[tuple[str, str]], train: list[tuple[str, str]] | None, shots: int, told: str, tmp_path: Path
) -> None:
    train_path = None if train is None else write(tmp_path / "train.csv", *train)
    source = Source(data=write(tmp_path / "a.csv", *rows), train=train_path, max_shots=shots)
    with pytest.raises(InvalidInputError, match=told):
        load_data(source, TASK)

"""What holds for every choice of examples, whatever the vectors and classes."""

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from handful.learn import selection
from handful.learn.ordering import global_entropy, local_entropy, some_orders
from handful.learn.prefix_cost import prefix_cost


@st.composite
def pools(draw: st.DrawFn) -> tuple[np.ndarray, np.ndarray, np.ndarray, int]:
    """Vectors (many of them alike), classes, a query, a number of examples."""
    num = draw(st.integers(1, 20))
    values = st.lists(st.integers(0, 3), min_size=3, max_size=3)
    vectors = np.array(draw(st.lists(values, min_size=num, max_size=num)), dtype=np.float64)
    classes = np.array(draw(st.lists(st.integers(0, 3), min_size=num, max_size=num)), dtype=np.int64)
    return vectors, classes, np.array(draw(values), dtype=np.float64), draw(st.integers(1, 25))


def every_choice(vectors: np.ndarray, classes: np.ndarray, query: np.ndarray, number: int) -> dict[str, list[int]]:
    return {
        "random": selection.random_balanced(classes, number, 5),
        "nearest": selection.nearest(query, vectors, number),
        "balanced": selection.balanced_nearest(query, vectors, classes, number),
        "diverse": selection.diverse(query, vectors, number),
        "covering": selection.covering(query, vectors, number),
        "representative": selection.representative(vectors, classes, number),
    }


@given(pools())
def test_a_choice_is_a_part_of_the_pool_without_repetition_and_always_the_same(
    pool: tuple[np.ndarray, np.ndarray, np.ndarray, int],
) -> None:
    found = every_choice(*pool)
    num = len(pool[1])
    for chosen in found.values():
        assert len(chosen) == len(set(chosen)) == min(num, pool[3])
        assert set(chosen) <= set(range(num))
    assert found == every_choice(*pool)


@given(pools())
def test_balanced_choices_give_no_class_more_while_another_has_some_left(
    pool: tuple[np.ndarray, np.ndarray, np.ndarray, int],
) -> None:
    classes = pool[1]
    found = every_choice(*pool)
    for name in ("random", "balanced", "representative"):
        taken = np.bincount(classes[found[name]], minlength=4)
        left = np.bincount(classes, minlength=4) - taken
        for label in range(4):
            assert left[label] == 0 or taken[label] >= taken.max() - 1


@given(pools(), st.floats(0.01, 100))
def test_the_length_of_a_query_does_not_matter_to_the_nearest(
    pool: tuple[np.ndarray, np.ndarray, np.ndarray, int], factor: float
) -> None:
    vectors, _, query, number = pool
    assert selection.nearest(query, vectors, number) == selection.nearest(query * factor, vectors, number)


@given(st.lists(st.lists(st.integers(0, 5), unique=True, max_size=5).map(tuple), max_size=12))
def test_what_is_computed_lies_between_the_longest_prompt_and_all_of_them(shown: list[tuple[int, ...]]) -> None:
    tokens = [3, 1, 4, 1, 5, 9]
    cost = prefix_cost(shown, tokens)
    longest = max((sum(tokens[i] for i in one) for one in shown), default=0)
    assert longest <= cost.num_computed_tokens <= cost.num_prompt_tokens
    assert 0.0 <= cost.shared <= 1.0
    assert cost.num_prefixes <= cost.num_queries == len(shown)


@given(st.integers(1, 9), st.integers(1, 30), st.integers(0, 99))
def test_orders_are_different_permutations_and_always_the_same(num_examples: int, num_orders: int, seed: int) -> None:
    orders = some_orders(num_examples, num_orders, seed)
    assert all(sorted(order) == list(range(num_examples)) for order in orders)
    assert len({tuple(order) for order in orders}) == len(orders) <= num_orders
    assert orders == some_orders(num_examples, num_orders, seed)
    assert len(orders) == num_orders or num_examples < 6


rows = st.lists(st.lists(st.floats(-20, 20), min_size=3, max_size=3), min_size=1, max_size=12).map(np.array)


@given(rows, st.permutations(range(3)))
def test_entropies_lie_between_zero_and_the_log_of_the_labels_and_labels_have_no_order(
    logits: np.ndarray, columns: list[int]
) -> None:
    for entropy in (global_entropy, local_entropy):
        assert -1e-9 <= entropy(logits) <= np.log(3) + 1e-9
    assert np.isclose(local_entropy(logits), local_entropy(logits[:, columns]))

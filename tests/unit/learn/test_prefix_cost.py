import pytest

from handful.learn.prefix_cost import prefix_cost


def test_one_set_for_all_is_computed_once() -> None:
    cost = prefix_cost([(0, 1)] * 10, [30, 20])
    assert (cost.num_prefixes, cost.num_prompt_tokens, cost.num_computed_tokens) == (1, 500, 50)
    assert cost.shared == pytest.approx(0.9)


def test_sets_that_begin_alike_share_the_beginning_and_only_that() -> None:
    # 0 1 | 0 2 share 0; 1 0 shares nothing with them, though it holds the same examples as the first
    cost = prefix_cost([(0, 1), (0, 2), (1, 0)], [10, 7, 5])
    assert cost.num_prefixes == 3
    assert cost.num_prompt_tokens == 17 + 15 + 17
    assert cost.num_computed_tokens == 10 + 7 + 5 + 7 + 10


def test_it_says_what_it_costs() -> None:
    assert str(prefix_cost([(0,), (0,), (1,)], [600, 600])) == (
        "2 different prefixes for 3 queries; 1,200 of 1,800 example tokens are computed (33% shared)."
    )


def test_nothing_costs_nothing() -> None:
    assert prefix_cost([], []).shared == 0.0
    assert prefix_cost([(), ()], []).to_dict()["num_prompt_tokens"] == 0

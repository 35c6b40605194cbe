import numpy as np
import pytest

from handful.learn.evidence import Judged, best_sharpness, choose
from handful.learn.recipe import CALIBRATED, LOGISTIC, PLAIN, Recipe


def judged(recipe: Recipe, losses: list[float], num_right: int) -> Judged:
    return Judged(recipe, np.array([1.0] * num_right + [0.0] * (len(losses) - num_right)), np.array(losses))


def test_the_default_is_kept_against_evidence_that_luck_could_give() -> None:
    # The other is better by 0.1 on average, with a standard error of 0.14.
    kept, _ = choose([judged(PLAIN, [0.9] * 4, 2), judged(CALIBRATED, [0.5, 0.5, 0.5, 0.5], 4),
                      judged(LOGISTIC, [0.0, 0.5, 0.5, 0.6], 4)], CALIBRATED)  # fmt: skip
    assert kept.recipe is CALIBRATED


def test_clear_evidence_replaces_the_default() -> None:
    kept, reason = choose([judged(PLAIN, [0.9] * 4, 2), judged(CALIBRATED, [0.5, 0.6, 0.5, 0.6], 3),
                           judged(LOGISTIC, [0.1, 0.1, 0.1, 0.1], 4)], CALIBRATED)  # fmt: skip
    assert kept.recipe is LOGISTIC
    assert "'calibrated'" in reason


def test_what_is_worse_than_plain_scoring_on_both_counts_gives_way() -> None:
    kept, reason = choose([judged(PLAIN, [0.5, 0.5, 0.5], 3), judged(CALIBRATED, [0.4, 0.7, 0.6], 2)], CALIBRATED)
    assert kept.recipe is PLAIN
    assert "worse than plain" in reason


@pytest.mark.parametrize(("losses", "num_right"), [([0.4, 0.7, 0.6], 3), ([0.4, 0.4, 0.4], 2)])
def test_what_is_worse_on_one_count_only_is_kept(losses: list[float], num_right: int) -> None:
    kept, _ = choose([judged(PLAIN, [0.5, 0.51, 0.5], 3), judged(CALIBRATED, losses, num_right)], CALIBRATED)
    assert kept.recipe is CALIBRATED


def test_without_evidence_the_default_stands_and_expects_nothing() -> None:
    kept, _ = choose([judged(PLAIN, [], 0), judged(CALIBRATED, [], 0)], CALIBRATED)
    assert kept.recipe is CALIBRATED
    assert kept.verdict.log_loss is None
    assert kept.verdict.interval == (0.0, 1.0)


def test_sharpness_flattens_what_is_too_sure_and_sharpens_what_is_too_shy() -> None:
    classes = np.array([0, 0, 0, 0, 0, 0, 0, 1] * 4)
    sure, shy = (np.log(np.tile([share, 1 - share], (32, 1))) for share in (0.999, 0.6))
    assert best_sharpness(sure, classes) < 1.0 < best_sharpness(shy, classes)


def test_one_example_hardly_moves_the_sharpness() -> None:
    assert best_sharpness(np.log([[0.6, 0.4]]), np.array([0])) == 1.0

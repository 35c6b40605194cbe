import numpy as np
import pytest

from handful.errors import InvalidInputError, InvalidParameterError
from handful.learn.interval import clopper_pearson_low
from handful.learn.threshold import threshold_for

# 100 answers, more and more sure; the 30 least sure ones are wrong every other time
SAID = np.linspace(0.5, 0.999, 100)
RIGHT = np.array([index >= 30 or index % 2 == 0 for index in range(100)])


def test_the_threshold_keeps_what_is_reliable_and_leaves_out_what_is_not() -> None:
    found = threshold_for(SAID, RIGHT, 0.9)
    answered = found.value <= SAID
    assert (found.num_right, found.num_answered) == (RIGHT[answered].sum(), answered.sum())
    assert 0.6 <= found.coverage <= 0.9
    assert found.lower_bound >= 0.9


def test_the_bound_pays_for_every_threshold_that_was_looked_at() -> None:
    found = threshold_for(SAID, RIGHT, 0.9, confidence=0.95)
    # 100 distinct confidences are bisected in at most 7 steps
    assert found.lower_bound == pytest.approx(clopper_pearson_low(found.num_right, found.num_answered, 0.05 / 7))


def test_the_promise_is_kept_on_new_answers() -> None:
    draw = np.random.default_rng(0)
    broken = promised = 0
    for _ in range(200):
        said = draw.uniform(0.5, 1.0, size=400)
        right = draw.uniform(size=400) < said  # as right as they say
        try:
            found = threshold_for(said, right, 0.8, confidence=0.9)
        except InvalidInputError:
            continue
        promised += 1
        # the true precision above a threshold t is the mean of the confidences there, (1 + t) / 2
        broken += (1 + found.value) / 2 < 0.8
    assert promised > 180
    assert broken <= 0.1 * 200


def test_equal_confidences_are_answered_together_or_not_at_all() -> None:
    found = threshold_for([0.6] * 20 + [0.9] * 80, [False] * 20 + [True] * 80, 0.9)
    assert (found.value, found.num_answered, found.num_right) == (0.9, 80, 80)


def test_it_says_what_it_promises() -> None:
    found = threshold_for([0.9] * 100, [True] * 100, 0.9)
    assert str(found) == "answer from 0.900: 100 of 100 right, at least 97% with 95% confidence; 100% answered"
    assert found.to_dict()["coverage"] == 1.0


@pytest.mark.parametrize(("said", "right"), [([], []), ([0.9] * 5, [True] * 5), ([0.9] * 400, [True, False] * 200)])
def test_what_the_evidence_does_not_promise_is_refused_with_a_way_out(said: list[float], right: list[bool]) -> None:
    with pytest.raises(InvalidInputError, match=r"promise a precision of 95%.*give more labelled examples"):
        threshold_for(said, right, 0.95)


def test_as_many_answers_as_it_asks_for_are_enough() -> None:
    # ln(0.05) / ln(0.95) = 58.4 for the one confidence there is
    with pytest.raises(InvalidInputError, match="at least 59"):
        threshold_for([0.9] * 58, [True] * 58, 0.95)
    assert threshold_for([0.9] * 59, [True] * 59, 0.95).lower_bound >= 0.95


@pytest.mark.parametrize("precision", [0.0, 1.0, 95, True, "0.9"])
def test_a_precision_that_is_no_share_is_refused(precision: float) -> None:
    with pytest.raises(InvalidParameterError, match="precision"):
        threshold_for([0.9], [True], precision)

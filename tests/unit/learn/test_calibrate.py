import numpy as np
import pytest

from handful.learn.calibrate import RunningBias, label_prior, mean_bias, remove_bias


def test_contextual_calibration_of_a_case_worked_out_by_hand() -> None:
    # Content-free inputs answer (0.8, 0.2), (0.6, 0.4) and (0.7, 0.3): b = (0.7, 0.3).
    bias = mean_bias(np.log([[0.8, 0.2], [0.6, 0.4], [0.7, 0.3]]))
    # p = (0.6, 0.4): p / b = (6/7, 4/3), so q = (18/21, 28/21) / (46/21) = (9/23, 14/23). The label flips.
    calibrated = np.exp(remove_bias(np.log([[0.6, 0.4]]), bias))
    assert bias == pytest.approx([0.7, 0.3])
    assert calibrated[0] == pytest.approx([9 / 23, 14 / 23])


def test_batch_calibration_of_a_case_worked_out_by_hand() -> None:
    # The batch (0.9, 0.1), (0.7, 0.3) has the mean (0.8, 0.2).
    # Row 1: (0.9/0.8, 0.1/0.2) = (9/8, 4/8) -> (9/13, 4/13). Row 2: (7/8, 12/8) -> (7/19, 12/19).
    batch = np.log([[0.9, 0.1], [0.7, 0.3]])
    calibrated = np.exp(remove_bias(batch, mean_bias(batch)))
    assert calibrated == pytest.approx(np.array([[9 / 13, 4 / 13], [7 / 19, 12 / 19]]))


def test_a_running_bias_over_parts_is_that_of_the_whole() -> None:
    rows = np.log([[0.9, 0.1], [0.7, 0.3], [0.2, 0.8]])
    running = RunningBias(2)
    running.update(rows[:1])
    running.update(rows[1:])
    assert running.bias == pytest.approx(mean_bias(rows))
    assert running.num_rows == 3


def test_a_running_bias_that_saw_nothing_is_uniform() -> None:
    assert RunningBias(4).bias == pytest.approx([0.25] * 4)


def test_the_label_prior_counts_one_more_of_each() -> None:
    assert label_prior([0, 0, 0, 1, 1, 1, 1], 2) == pytest.approx([4 / 9, 5 / 9])
    assert label_prior([0, 0, 0], 2) == pytest.approx([4 / 5, 1 / 5])


def test_the_label_prior_is_uniform_where_tau_is_0() -> None:
    assert label_prior([0, 0, 0], 2, tau=0.0) == pytest.approx([0.5, 0.5])


def test_a_bias_of_zero_stays_finite() -> None:
    assert np.isfinite(remove_bias(np.log([[0.5, 0.5]]), np.array([0.0, 1.0]))).all()

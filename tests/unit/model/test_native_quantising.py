"""Weights as bytes: rounded to nearest, or along what their inputs have most of, beside the formula in float64."""

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from torch import Tensor

from handful.model.ops.directions import NUM_DIRECTIONS, principal_directions
from handful.model.ops.linear_int8 import quantise_symmetric
from handful.model.ops.native.quantising import quantise_rows
from handful.types import Instructions
from tests.unit.model.instructions import NEEDED, limited, needs

levels = pytest.mark.parametrize("level", [pytest.param(level, marks=needs(level)) for level in NEEDED])
needs_some = needs("avx2")


def random(*shape: int, seed: int = 0) -> Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed))


def inputs(size: int, rows: int = 64) -> Tensor:
    """Rows that have much in common: four directions, the first in all of them, and some noise."""
    parts = random(rows, 4, seed=1) + torch.tensor([5.0, 0.0, 0.0, 0.0])
    return parts @ random(4, size, seed=2) + 0.3 * random(rows, size, seed=3)


def rounded_by_the_formula(units: NDArray[np.float64], along: NDArray[np.float64]) -> NDArray[np.float64]:
    """Rows `[out, in]` in units of their scales, rounded as linear_rounding.h says, with an inverse for each column."""
    errors, result = np.zeros((len(units), along.shape[1])), np.empty_like(units)
    for j in range(units.shape[1]):
        correction = np.linalg.inv(np.eye(along.shape[1]) + along[j:].T @ along[j:]) @ along[j]
        result[:, j] = np.clip(np.rint(units[:, j] - errors @ correction), -127, 127)
        errors += np.outer(result[:, j] - units[:, j], along[j])
    return result


@levels
@pytest.mark.parametrize("shape", [(1, 16), (16, 64), (37, 100), (50, 576)])
def test_rows_are_rounded_along_directions_by_the_formula(level: Instructions, shape: tuple[int, int]) -> None:
    weight, along = random(*shape), principal_directions(inputs(shape[1]))
    with limited(level):
        found, scales, sums = quantise_rows(weight, None, 0, along)
    units = (weight / scales[:, None]).double().numpy()
    same = found.numpy() == rounded_by_the_formula(units, along.double().numpy())
    assert same.mean() > 0.999  # a number right between two may go either way, and take those behind it along
    assert torch.equal(scales, quantise_symmetric(weight)[1])
    assert torch.equal(sums, found.sum(dim=1, dtype=torch.int32))


@levels
def test_without_length_in_any_direction_rows_are_rounded_to_nearest(level: Instructions) -> None:
    weight = random(33, 70)
    with limited(level):
        found, _, _ = quantise_rows(weight, None, 0, torch.zeros(70, NUM_DIRECTIONS))
    assert torch.equal(found, quantise_symmetric(weight)[0])


@needs_some
def test_errors_cancel_out_on_what_inputs_have_most_of_and_hardly_grow_elsewhere() -> None:
    weight, x = random(40, 576), inputs(576)
    nearest, scales, _ = quantise_rows(weight, None)
    along, _, _ = quantise_rows(weight, None, 0, principal_directions(x))

    def error(rows: Tensor, of: Tensor) -> float:
        return float((rows @ (of * scales[:, None] - weight).t()).norm())

    assert error(x, along) < error(x, nearest) / 3
    assert error(random(64, 576, seed=4), along) < error(random(64, 576, seed=4), nearest) * 1.1


@needs_some
def test_a_rows_bytes_depend_on_no_other_row() -> None:
    weight, along = random(40, 96), principal_directions(inputs(96))
    together = quantise_rows(weight, None, 0, along)[0]
    spoilt = weight.clone()
    spoilt[3], spoilt[20] = torch.nan, 0.0
    others = [row for row in range(40) if row not in (3, 20)]
    assert torch.equal(quantise_rows(spoilt, None, 0, along)[0][others], together[others])
    assert torch.equal(quantise_rows(weight[17:18], None, 0, along)[0][0], together[17])


@needs_some
def test_directions_of_another_shape_are_refused() -> None:
    with pytest.raises(ValueError, match=r"directions must be of \[70, 16\]"):
        quantise_rows(random(33, 70), None, 0, torch.zeros(70, 8))
    with pytest.raises(ValueError, match=r"factors must be of \[70\]"):
        quantise_rows(random(33, 70), torch.ones(71))


def test_principal_directions_hold_what_rows_have_most_of() -> None:
    x = inputs(200)
    along = principal_directions(x)
    lengths, wanted = torch.linalg.svdvals(along)[:4], torch.linalg.svdvals(x)[:4]
    assert torch.allclose(lengths / lengths[0], wanted / wanted[0], atol=1e-3)
    planted = torch.linalg.qr(random(4, 200, seed=2).t()).Q
    assert (planted @ planted.t() @ along).norm() / along.norm() > 0.99


@pytest.mark.parametrize(
    "rows",
    [random(NUM_DIRECTIONS - 1, 64), random(64, 8), torch.zeros(64, 64), torch.full((64, 64), torch.nan)],
    ids=["few rows", "few channels", "zeros", "no numbers"],
)
def test_there_are_no_directions_where_nothing_can_be_said(rows: Tensor) -> None:
    assert not principal_directions(rows).any()

"""What rows have most of."""

import math

import torch
from torch import Tensor

NUM_DIRECTIONS = 16  # a register of float32; 8 do nearly as well, and all of a text's learn it by heart: decision 0090
LEAST_REST = 0.02  # of the rows' energy, which counts as in no direction


def principal_directions(rows: Tensor) -> Tensor:
    """The largest principal directions of rows `[N, K]` (not centred), `[K, 16]` float32, turned among themselves.

    They are as long as the rows reach along them, in units of what a channel has of all that is in none of them. By one
    step of subspace iteration from sums of neighbouring rows, which is near enough. All zeros where there are fewer
    rows than directions, or rows that are no numbers.
    """
    rows = rows.float()
    count, size = len(rows) // NUM_DIRECTIONS * NUM_DIRECTIONS, rows.shape[1]
    energy = float(rows.square().sum())
    if not count or size < NUM_DIRECTIONS or not 0.0 < energy < float("inf"):
        return torch.zeros(size, NUM_DIRECTIONS)
    sums = rows[:count].view(NUM_DIRECTIONS, -1, size).sum(dim=1)
    basis = torch.linalg.qr(((sums @ rows.t()) @ rows).t()).Q
    found: Tensor = basis @ torch.linalg.qr(rows @ basis).R.t()
    rest = max(energy - float(found.square().sum()), 0.0) + LEAST_REST * energy
    return found * math.sqrt(size / rest)

"""Hidden states that are read as they leave a layer: kept while a step goes through the layers.

Such a row goes on like any other (what is behind it may be read from the cache by somebody else); in the end what was
kept takes the place of its final hidden state.
"""

from dataclasses import dataclass, field
from typing import Self

import numpy as np
import torch
from torch import Tensor

from handful.engine.batch import Batch
from handful.engine.request import Embed
from handful.engine.transfer import send


@dataclass(frozen=True, slots=True, eq=False)
class LayerStates:
    """Of one step: for each layer its rows, their places among the wanted ones, and their states when it was passed."""

    rows: dict[int, Tensor]
    places: dict[int, Tensor]
    states: dict[int, Tensor] = field(default_factory=dict)

    @classmethod
    def of(cls, batch: Batch, device: torch.device) -> Self | None:
        """None where every row is wanted behind the last norm."""
        places: dict[int, list[int]] = {}
        place = 0
        for work in batch.works:
            count = len(work.request.wanted_rows(work.first, work.count))
            goal = work.request.goal
            if isinstance(goal, Embed) and goal.layer is not None:
                places.setdefault(goal.layer, []).extend(range(place, place + count))
            place += count
        found = {layer: np.array(at) for layer, at in places.items() if at}
        rows = {layer: send(batch.wanted[at], device) for layer, at in found.items()}
        return cls(rows, {layer: send(at, device) for layer, at in found.items()}) if found else None

    def take(self, layer: int, hidden: Tensor) -> None:
        """Keep what leaves `layer` (counted from 1) of the step's rows `[N, d]`."""
        rows = self.rows.get(layer)
        if rows is not None:
            self.states[layer] = hidden[rows]

    def put_into(self, rows: Tensor) -> Tensor:
        """The wanted rows `[M, d]` with what was kept in its places."""
        for layer, places in self.places.items():
            rows[places] = self.states[layer]
        return rows

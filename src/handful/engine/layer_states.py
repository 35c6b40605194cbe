"""Hidden states that are read as they leave a layer: kept while a step goes through the layers.

Such a row goes on like any other (what is behind it may be read from the cache by somebody else); in the end what was
kept takes the place of its final hidden state.
"""

from dataclasses import dataclass, field
from typing import Self

import torch
from torch import Tensor

from handful.engine.batch import Batch
from handful.engine.request import Embed


@dataclass(frozen=True, slots=True, eq=False)
class LayerStates:
    """Of one step: for each layer the places of its rows among the wanted ones, and their states when it was passed."""

    wanted: Tensor
    places: dict[int, Tensor]
    states: dict[int, Tensor] = field(default_factory=dict)

    @classmethod
    def of(cls, batch: Batch) -> Self | None:
        """None where every row is wanted behind the last norm."""
        places: dict[int, list[int]] = {}
        place = 0
        for work in batch.works:
            count = len(work.request.wanted_rows(work.first, work.count))
            goal = work.request.goal
            if isinstance(goal, Embed) and goal.layer is not None:
                places.setdefault(goal.layer, []).extend(range(place, place + count))
            place += count
        device = batch.wanted.device
        found = {layer: torch.tensor(at, dtype=torch.int64, device=device) for layer, at in places.items() if at}
        return cls(batch.wanted, found) if found else None

    def take(self, layer: int, hidden: Tensor) -> None:
        """Keep what leaves `layer` (counted from 1) of the step's rows `[N, d]`."""
        places = self.places.get(layer)
        if places is not None:
            self.states[layer] = hidden[self.wanted[places]]

    def put_into(self, rows: Tensor) -> Tensor:
        """The wanted rows `[M, d]` with what was kept in its places."""
        for layer, places in self.places.items():
            rows[places] = self.states[layer]
        return rows

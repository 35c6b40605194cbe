"""Which models leave when another needs their room: those asked longest ago, never the pinned ones. Pure policy."""

from collections.abc import Sequence
from dataclasses import dataclass


@dataclass(frozen=True, slots=True, kw_only=True)
class Resident:
    """A model in memory. `num_bytes` that it may take; `used_at` is when it was last asked; a busy one computes now."""

    name: str
    num_bytes: int
    used_at: float
    is_busy: bool = False
    is_pinned: bool = False


def to_unload(residents: Sequence[Resident], needed_bytes: int, budget_bytes: int) -> list[str] | None:
    """The names of the models to unload, in order, so that `needed_bytes` fit into the budget with those that stay.

    Idle ones first, then the least recently used. None where pinned models leave no room. No budget (0) is never full.
    """
    excess = sum(each.num_bytes for each in residents) + needed_bytes - budget_bytes
    if budget_bytes == 0 or excess <= 0:
        return []
    leaving = []
    for each in sorted(residents, key=lambda each: (each.is_busy, each.used_at)):
        if excess > 0 and not each.is_pinned:
            leaving.append(each.name)
            excess -= each.num_bytes
    return leaving if excess <= 0 else None

"""Which models have room in memory beside each other, and which leave for another; the policy is memory_budget.py's."""

import asyncio
import json
import logging
from collections.abc import Callable, Iterable, Mapping

from handful.server.errors import ForbiddenError
from handful.server.memory_budget import Resident, to_unload
from handful.server.model_entry import ModelEntry
from handful.server.served_model import ServedModel

_log = logging.getLogger("handful.server")


class ModelRoom:
    """The memory of a server, over the entries of its registry. `budget_bytes` 0 is never full.

    `on_unloaded` is called in the event loop for each model that leaves; what it has accepted is finished.
    """

    def __init__(self, entries: Mapping[str, ModelEntry], budget_bytes: int) -> None:
        self.budget_bytes = budget_bytes
        self.on_unloaded: Callable[[ModelEntry], None] = lambda _: None
        self._entries = entries

    def fits_beside(self, entry: ModelEntry) -> bool:
        """Whether a model fits with those that are there, none of them leaving."""
        return to_unload(self._residents(entry), entry.num_bytes, self.budget_bytes) == []

    def is_too_big(self, entry: ModelEntry) -> bool:
        """Whether a model could not be loaded even alone."""
        return to_unload([], entry.num_bytes, self.budget_bytes) is None

    def check(self, entry: ModelEntry) -> None:
        """ForbiddenError where room for a model can't be made."""
        if self.is_too_big(entry):
            needed, given = (f"{number / 2**20:.0f} MiB" for number in (entry.num_bytes, self.budget_bytes))
            problem = f"Model {entry.source.name} is too large to be loaded ({needed} > {given})."
            fix = "HANDFUL_MODEL_MEMORY_MB says how much may be, HANDFUL_KV_MEMORY_MB what of it keys and values take."
            raise ForbiddenError(problem, fix=fix)
        if to_unload(self._residents(entry), entry.num_bytes, self.budget_bytes) is None:
            problem = f"There is no room for model {entry.source.name} beside the models that are pinned."
            raise ForbiddenError(problem, fix="Pin fewer with POST /usage/pinned_models.")

    def fit_together(self, entries: Iterable[ModelEntry]) -> bool:
        """Whether models fit into the memory side by side."""
        return to_unload([], sum(each.num_bytes for each in entries), self.budget_bytes) is not None

    def check_together(self, entries: Iterable[ModelEntry]) -> None:
        """ForbiddenError where models don't fit into the memory together."""
        if not self.fit_together(entries):
            raise ForbiddenError("These models don't fit into the memory together.", fix="Pin fewer.")

    def take_out_for(self, entry: ModelEntry) -> list[ServedModel]:
        """The models that have to leave for another; from now on requests for them load them again."""
        residents = self._residents(entry)
        names = to_unload(residents, entry.num_bytes, self.budget_bytes)
        if names is None:  # it turned out larger than its files, or models were pinned meanwhile
            names = [each.name for each in residents if not each.is_pinned]
        left = []
        for each in (self._entries[name] for name in names):
            if each.model is None:  # it is being loaded: its turn comes after this one's
                continue
            left.append(each.model)
            each.model, each.backend, each.started_at, each.is_on_demand = None, None, None, True
            each.settled = asyncio.Event()
            self.on_unloaded(each)
            _log.info(json.dumps({"event": "model unloaded", "model": each.source.name, "for": entry.source.name}))
        return left

    def _residents(self, but: ModelEntry) -> list[Resident]:
        """The models that take up room, and those that soon will."""
        return [
            Resident(
                name=name,
                num_bytes=each.num_bytes,
                used_at=each.used_at,
                is_busy=each.is_loading or each.is_busy,
                is_pinned=each.is_pinned,
            )
            for name, each in list(self._entries.items())
            if each is not but and (each.model is not None or each.is_loading)
        ]

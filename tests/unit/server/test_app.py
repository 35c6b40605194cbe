"""An app's beginning and end."""

import asyncio
from typing import Any

from handful.server.registry import ModelRegistry
from tests.unit.server.serving import SENTIMENT, FakeModel, client_of, run, state_with


def test_a_model_that_has_loaded_when_the_server_ends_begins_nothing(monkeypatch: Any) -> None:
    told: list[Any] = []
    start_loading = ModelRegistry.start_loading

    def start(models: ModelRegistry, on_settled: Any) -> None:
        told.append(on_settled)
        start_loading(models, on_settled)

    monkeypatch.setattr(ModelRegistry, "start_loading", start)
    state = state_with(FakeModel(), SENTIMENT)

    async def check() -> None:
        async with client_of(state):
            loaded = state.models.entry("fake")
            assert loaded.model is not None
            told[0](loaded)
            assert len(asyncio.all_tasks()) > 1
            kept = loaded.model, loaded.backend
        others = asyncio.all_tasks()
        loaded.model, loaded.backend = kept
        told[0](loaded)
        assert asyncio.all_tasks() == others

    run(check())

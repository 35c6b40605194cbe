"""Looking again and again at what others changed."""

import asyncio

import pytest

from handful.errors import StoreError
from handful.server import store_sync
from handful.server.store_sync import StoreSync
from tests.unit.server.serving import run, until


def test_looks_begin_in_order_and_one_that_waits_or_fails_holds_up_no_other(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(store_sync, "REFRESH_S", 0.005)
    seen: list[str] = []

    async def waits() -> None:
        seen.append("waits")
        if len(seen) > 4:
            await asyncio.Event().wait()

    async def lost() -> None:
        seen.append("lost")
        raise StoreError("The database is gone.")

    async def broken() -> None:
        seen.append("broken")
        raise RuntimeError("Nobody foresaw this.")

    async def looks() -> None:
        seen.append("looks")

    async def check() -> None:
        sync = StoreSync(waits, lost, broken, looks)
        await sync.start()
        assert seen == ["waits", "lost", "broken", "looks"]
        await until(lambda: min(seen.count(name) for name in ("lost", "broken", "looks")) > 5)
        await sync.close()
        num_seen = len(seen)
        await asyncio.sleep(0.02)
        assert len(seen) == num_seen
        assert seen.count("waits") == 2

    run(check())

"""Whatever a registration says, it is refused by name, or the model is listed, loads, answers, and can be removed."""

import asyncio
import json
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import httpx
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from handful.server.auth_state import Access
from handful.server.model_host import ModelHost
from handful.server.served_model import ServedModel
from handful.store.models import StoredModel
from tests.unit.server.serving import FakeModel, client_of, state_with
from tests.unit.server.with_access import bearer, opened

ODD: st.SearchStrategy[Any] = st.sampled_from(
    [None, "", " ", 0, -1, 2**63, True, False, [], {}, "..", "a/b", "../a", "a\x00", "é", "\ud800"]
)
NAMES = st.from_regex(r"[a-z]{1,3}([-_.][a-z0-9]{1,2})?", fullmatch=True) | st.sampled_from(["default/own", "x" * 200])
BODIES = st.fixed_dictionaries(
    {"name": NAMES | ODD},
    optional={
        "hub_id": st.sampled_from(["ada/mine", "mine", "a/b/c", "-a/b", "a" * 300]) | ODD,
        "revision": st.sampled_from(["main", "v1.0", "refs/pr/1", "a b", "a/../../b", "x" * 300]) | ODD,
        "hub_token": st.sampled_from(["hf_x", "x" * 300, "hf_x\r\nx: y"]) | ODD,
        "path": st.sampled_from(["/nowhere", "relative", "/etc/passwd"]) | ODD,
        "upload": st.booleans() | ODD,
        "private": st.booleans() | ODD,
        "colour": ODD,
    },
)
SOUND = st.fixed_dictionaries(
    {"name": st.from_regex(r"[a-z]{1,8}", fullmatch=True), "hub_id": st.sampled_from(["ada/mine", "mine"])},
    optional={"revision": st.just("v1.0"), "hub_token": st.just("hf_x"), "private": st.booleans()},
)


def _load(model: StoredModel, token: str | None) -> ServedModel:
    return FakeModel()


@dataclass
class Site:
    """A server in this process that loads a fake, whatever is registered; the loop it lives in; an admin's token."""

    runner: asyncio.Runner
    client: httpx.AsyncClient
    headers: dict[str, str]


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    folder = tmp_path_factory.mktemp("registration")
    with opened(folder) as database, asyncio.Runner() as runner:
        host = ModelHost(_load, lambda _: None, folder / "models", 1 << 20)
        access = Access.over(database, tokens_required=True)
        serving = client_of(state_with(FakeModel(), access=access, host=host))
        client = runner.run(serving.__aenter__())
        yield Site(runner, client, bearer(database, scopes=("predict", "manage", "admin")))
        runner.run(serving.__aexit__(None, None, None))


def test_a_registration_is_refused_by_name_or_served_until_it_is_removed(site: Site) -> None:
    statuses: Counter[int] = Counter()

    @given(BODIES | SOUND)
    @settings(max_examples=80, deadline=None)
    def check(body: dict[str, Any]) -> None:
        made = site.runner.run(_register(site, body))
        statuses[made.status_code] += 1

    check()
    assert statuses.keys() <= {201, 400, 403}
    assert statuses[201] >= 10


async def _register(site: Site, body: dict[str, Any]) -> httpx.Response:
    made = await site.client.post("/api/models", content=json.dumps(body), headers=site.headers)
    listed = (await site.client.get("/api/models", headers=site.headers)).json()
    if made.status_code == 201:
        assert listed == [made.json()]
        assert made.headers["location"] == f"/models/{made.json()['name']}"
        await _use(site, made.json()["name"])
    else:
        assert listed == []
        said = " ".join(made.json()["error"])
        assert any(key in said for key in (*body, "hub_id", "name of a model")), said
    return made


async def _use(site: Site, name: str) -> None:
    """Load the model, ask it, and remove it."""
    asked = {"inputs": "a", "parameters": {"max_new_tokens": 1}, "options": {"wait_for_model": True}}
    answered = await site.client.post(f"/models/{name}", json=asked, headers=site.headers)
    assert answered.json() == [{"generated_text": "a w1"}]
    assert (await site.client.delete(f"/api/models/{name}", headers=site.headers)).status_code == 204
    assert (await site.client.post(f"/models/{name}", json=asked, headers=site.headers)).status_code == 404

"""What a request says of a model that isn't loaded, on every route that asks one."""

import asyncio
from pathlib import Path

import pytest

from handful.server.model_wish import CACHE, LOAD, WAIT
from tests.unit.server.nlp_serving import FakeNlp, ask_nlp
from tests.unit.server.routes import DESCRIBED, OPERATIONS, shown_bodies, site_in

ASKING_TAGS = {"inference api", "openai", "tgi", "backend"}
ASKING = [
    (path, method)
    for path, method in OPERATIONS
    if shown_bodies(path, method)
    and (ASKING_TAGS & set(DESCRIBED["paths"][path][method]["tags"]) or (path, method) == ("/tasks/{name}", "post"))
]


def test_a_header_that_says_neither_yes_nor_no_is_refused_by_every_route_that_asks_a_model(tmp_path: Path) -> None:
    assert len(ASKING) > 20

    async def check() -> None:
        async with site_in(tmp_path) as site:
            for path, method in ASKING:
                body = shown_bodies(path, method)[0]
                for header in (WAIT, LOAD, CACHE):
                    refused = await site.send(path, method, json=body, headers={header: "perhaps"})
                    assert refused.status_code in (400, 422), (path, header, refused.text)
                    assert header in refused.text, (path, header)
                told = {WAIT: "True", LOAD: "1", CACHE: "false"}
                assert (await site.send(path, method, json=body, headers=told)).status_code == 200, path

    asyncio.run(asyncio.wait_for(check(), 60))


@pytest.mark.parametrize(
    ("path", "body"),
    [
        ("/models/nlp", {"inputs": "a text"}),
        ("/v1/embeddings", {"model": "nlp", "input": "a text"}),
        ("/tokenize", {"model": "nlp", "inputs": "a text"}),
        ("/models/nlp/backend/embed", {"inputs": "a text"}),
    ],
)
def test_a_model_that_is_not_to_be_loaded_is_not(path: str, body: dict[str, str]) -> None:
    model = FakeNlp(task="feature-extraction")
    refused = ask_nlp(model, path, body, headers={LOAD: "0"})
    assert refused.status_code == 503
    assert "Model nlp is not loaded" in refused.text
    assert model.num_loads <= 1  # `late`, which has to be loaded for anybody to know what it is for

"""Whatever a body holds, a request of a language task is understood or refused; a server never fails over it."""

import asyncio
import json
from contextlib import suppress
from typing import Any

import httpx
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from handful.errors import UserError
from handful.nlp_types import NlpTask
from handful.protocol.nlp_request import Asked
from handful.protocol.nlp_tasks import EXAMPLES, REQUESTS
from tests.unit.server.nlp_serving import FakeNlp, nlp_state
from tests.unit.server.serving import client_of

SCALARS = st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text()
VALUES = st.recursive(
    SCALARS, lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3)
)
KEYS = ("inputs", "parameters", "options", "model", "stream", "question", "table", "query", "text", "normalize")
RAW = st.binary(max_size=40) | st.text(max_size=40).map(str.encode)
TASKS = st.sampled_from(sorted(REQUESTS))
PLACES = ("/models/nlp", "/pipeline/{task}/nlp", "/models/fake/pipeline/{task}", "/models/late")


@st.composite
def bodies(draw: st.DrawFn, task: NlpTask) -> bytes:
    """A request that is right but for a few fields, of the body or inside one of its parts; or nothing of the kind."""
    body: dict[str, Any] = json.loads(json.dumps(EXAMPLES[task]))
    kind = draw(st.sampled_from(("body", "inputs", "parameters", "raw")))
    if kind == "raw":
        return draw(RAW)
    if kind == "body":
        body |= draw(st.dictionaries(st.sampled_from(KEYS) | st.text(max_size=5), VALUES, max_size=3))
        return json.dumps(body).encode()
    fields = REQUESTS[task].model_fields[kind].annotation
    names = sorted(getattr(fields, "model_fields", {})) or ["a"]
    part = body.get(kind)
    changed = draw(st.dictionaries(st.sampled_from(names) | st.text(max_size=5), VALUES, max_size=3))
    body[kind] = part | changed if isinstance(part, dict) else changed if kind == "parameters" else draw(VALUES)
    return json.dumps(body).encode()


@given(st.data(), TASKS)
@settings(max_examples=300, deadline=None)
def test_a_request_is_understood_or_refused(data: st.DataObject, task: NlpTask) -> None:
    body = data.draw(bodies(task))
    with suppress(UserError):
        asked = REQUESTS[task].from_body(body).asked(task)
        assert isinstance(asked, Asked)
        assert asked.items
        assert all(isinstance(text, str) for text in asked.texts)


@pytest.mark.parametrize("task", sorted(REQUESTS))
def test_no_body_makes_the_server_fail(task: NlpTask) -> None:
    async def check(body_list: list[tuple[str, bytes]]) -> list[httpx.Response]:
        async with client_of(nlp_state(FakeNlp(task=task), is_lazy=False)) as client:
            return [await client.post(path.format(task=task), content=body) for path, body in body_list]

    @given(st.lists(st.tuples(st.sampled_from(PLACES), bodies(task)), min_size=12, max_size=12))
    @settings(max_examples=3, deadline=None)
    def hold(sent: list[tuple[str, bytes]]) -> None:
        answers = asyncio.run(check(sent))
        assert {answer.status_code for answer in answers} <= {200, 400, 422}
        for answer in answers:
            if answer.status_code >= 400:
                assert all(isinstance(sentence, str) for sentence in answer.json()["error"])

    hold()

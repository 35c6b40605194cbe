"""The answer to POST /tasks/{name} where the task is a saved classifier: as a closed task's, streamed as one event."""

import time
from collections.abc import AsyncGenerator
from typing import Any

from starlette.responses import Response

from handful.backend import AsyncBackend
from handful.protocol.tasks import TaskRequest
from handful.server.attend import Watch, attend
from handful.server.classifier import ServedClassifier
from handful.server.event_stream import EventStream
from handful.server.headers import work_headers
from handful.server.json_response import JSONResponse


async def answer_with(
    classifier: ServedClassifier, backend: AsyncBackend, asked: TaskRequest, watch: Watch, headers: dict[str, str]
) -> Response:
    """One prediction for each input."""
    if asked.stream:
        return EventStream(_only_event(classifier, backend, asked), watch, headers)
    started = time.perf_counter()
    predictions = await attend(classifier.predict(backend, asked.queries), watch)
    return JSONResponse(predictions, headers=headers | work_headers(time.perf_counter() - started))


async def _only_event(
    classifier: ServedClassifier, backend: AsyncBackend, asked: TaskRequest
) -> AsyncGenerator[dict[str, Any], None]:
    (prediction,) = await classifier.predict(backend, asked.queries)
    yield {"text": prediction["prediction"], "prediction": prediction}

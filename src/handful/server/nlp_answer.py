"""One request of a language task other than generating text: find its model, ask it, shape its answer."""

import time
from collections.abc import Sequence
from typing import Any

from starlette.requests import Request
from starlette.responses import Response

from handful.errors import InvalidInputError
from handful.nlp_types import NlpTask
from handful.protocol.nlp_request import Asked, NlpRequest
from handful.protocol.nlp_tasks import REQUESTS
from handful.protocol.nlp_zero_shot import ZeroShotRequest, reads_lists
from handful.server.attend import attend
from handful.server.cached import cache_headers, slot_for
from handful.server.headers import model_headers, work_headers
from handful.server.json_response import JSONResponse
from handful.server.model_wish import model_of
from handful.server.models import check_device, check_model
from handful.server.nlp_language_model import LanguageModelTasks
from handful.server.nlp_served import ServedNlpModel, served_behind
from handful.server.state import state_of
from handful.server.usage_tally import current_tally
from handful.store.usage import Usage


async def answer_task(request: Request, name: str, task: NlpTask, body: bytes) -> Response:
    """The answer of the model `name` to a request for `task`."""
    state, tasks = state_of(request), _language_model_tasks(request)
    wire = REQUESTS[task].from_body(body)
    check_model(wire.model, name, request)
    asked = wire.asked(task)
    state.limits.check_texts([max(map(len, asked.texts))] * len(asked.items), asked.answers_each)
    watch, as_lists = state.watch(request), reads_lists(request.headers)
    backend = await model_of(request, name, watch, wire.options)
    check_device(wire.options, backend)
    served = served_behind(backend)
    _check_task(served, name, task, tasks)
    started = time.perf_counter()
    headers = model_headers(backend.info, asked.num_characters)

    def said() -> dict[str, Any]:
        return {"route": task, "as_lists": as_lists} | wire.model_dump(mode="json", exclude={"options", "model"})

    slot = slot_for(request, name, backend.info, said, is_wanted=wire.options.wants_cache, is_same=asked.is_repeatable)
    if (kept := slot.find()) is not None:
        return JSONResponse(kept.value, headers=cache_headers(headers, kept))
    work = tasks.answer(backend, wire, asked) if served is None else _ask(served, asked, name)
    value = _shaped(wire, await attend(work, watch), as_lists)
    headers |= work_headers(time.perf_counter() - started)
    response = JSONResponse(value, headers=headers)
    slot.keep(value, headers)
    return response


def _language_model_tasks(request: Request) -> LanguageModelTasks:
    tasks: LanguageModelTasks = request.app.state.language_model_tasks
    return tasks


def _check_task(served: ServedNlpModel | None, name: str, task: NlpTask, tasks: LanguageModelTasks) -> None:
    """Refuse a task that the model can't do, naming those that it can. Raises InvalidInputError."""
    if served is None:
        return tasks.check(task, name)
    if task not in served.tasks:
        can = ", ".join(sorted(served.tasks))
        raise InvalidInputError(f"Model {name} can't do {task}: it does {can}.", fix=f"Serve a model for {task}.")
    return None


async def _ask(served: ServedNlpModel, asked: Asked, name: str) -> list[Any]:
    """The model's results, counted as usage: the texts that were sent, and of generated ones their tokens."""
    tally = current_tally.get()
    if tally is None:
        return (await served.ask(asked)).results
    with tally.working(name):
        made = await served.ask(asked)
        tally.add(
            name,
            Usage(
                input_characters=asked.num_characters,
                prompt_tokens=made.num_read_tokens,
                generated_tokens=made.num_written_tokens,
            ),
        )
    return made.results


def _shaped(wire: NlpRequest, results: Sequence[Any], as_lists: bool) -> Any:
    if as_lists and isinstance(wire, ZeroShotRequest):
        return wire.answer_in_lists(results)
    return wire.answer(results)

"""POST /v1/chat/completions, for all models and below each model's path: messages in, the assistant's answer out."""

import time
from typing import Any

from fastapi import APIRouter
from starlette.requests import Request
from starlette.responses import Response

from handful.errors import InvalidInputError
from handful.protocol.openai_chat import ChatRequest
from handful.protocol.openai_chat_answer import ChatWriter, chat_answer
from handful.protocol.openai_shapes import CHAT, ChatAnswer
from handful.server.attend import attend
from handful.server.cached import always_same, are_whole, cache_headers, slot_for
from handful.server.event_stream import EventStream
from handful.server.headers import model_headers, work_headers
from handful.server.json_response import JSONResponse
from handful.server.limits import read_body
from handful.server.openai_chat_renderer import ChatRenderer
from handful.server.openai_streams import Asked, begin, chunks
from handful.server.openapi import json_answer, json_body
from handful.server.state import state_of

router = APIRouter(tags=["openai"])
_BODY = json_body(ChatRequest)
_ANSWER = json_answer(ChatAnswer, CHAT)


@router.post("/v1/chat/completions", openapi_extra=_BODY, responses=_ANSWER, summary="Answer a conversation")
async def chat(request: Request) -> Response:
    """Answer a conversation, with the model that the body names."""
    return await _chat(request, None)


@router.post(
    "/models/{name}/v1/chat/completions", openapi_extra=_BODY, responses=_ANSWER, summary="Answer a conversation"
)
async def chat_below_model(request: Request, name: str) -> Response:
    """The same, with the model of the path."""
    return await _chat(request, name)


@router.post(
    "/models/{org}/{name}/v1/chat/completions", openapi_extra=_BODY, responses=_ANSWER, summary="Answer a conversation"
)
async def chat_below_model_with_org(request: Request, org: str, name: str) -> Response:
    """The same, for a model whose name has an organisation."""
    return await _chat(request, f"{org}/{name}")


async def _chat(request: Request, route_model: str | None) -> Response:
    state = state_of(request)
    wire = ChatRequest.from_body(await read_body(request, state.limits))
    state.limits.check_texts([wire.num_characters], wire.n)
    asked = await begin(request, state, wire.model, route_model)
    prompt = await attend(_prompt(asked, wire, request.app.state.chat_renderer), asked.watch)
    parameters = wire.generation_parameters(asked.backend.info.context_length - len(prompt))
    heading = asked.heading("chatcmpl")
    headers = model_headers(asked.backend.info, wire.num_characters)
    if wire.stream:
        writer = ChatWriter(wire, heading)
        return EventStream(chunks(asked.backend, [prompt], parameters, writer), asked.watch, headers)
    started = time.perf_counter()

    def said() -> dict[str, Any]:  # the prompt, too: the template may change with the files
        return {"route": "chat", "prompt": prompt} | wire.model_dump(mode="json")

    slot = slot_for(request, asked.model, asked.backend.info, said, is_wanted=None, is_same=always_same(parameters))
    if (kept := slot.find()) is not None:
        own = {"id": heading.id, "created": heading.created}
        return JSONResponse(kept.value | own, headers=cache_headers(headers, kept))
    generation = await attend(asked.backend.generate(prompt, parameters), asked.watch)
    value = chat_answer(wire, heading, generation)
    headers |= work_headers(time.perf_counter() - started, [generation])
    if are_whole([generation]):
        slot.keep(value, headers)
    return JSONResponse(value, headers=headers)


async def _prompt(asked: Asked, wire: ChatRequest, renderer: ChatRenderer) -> tuple[int, ...]:
    """The conversation's token ids. Nothing is added at their start: the template says what begins a chat."""
    template = asked.backend.chat_template
    if template is None:
        fix = "Use /v1/completions with a prompt of your own."
        raise InvalidInputError(f"Model {asked.model} has no chat template: it wasn't made for conversations.", fix=fix)
    text = await renderer.render(template, [message.as_template_sees_it() for message in wire.messages])
    spans = await asked.backend.tokenize(text, add_special=False)
    return tuple(span.id for span in spans)

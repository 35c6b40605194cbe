"""GET /docs: what /openapi.json says, as one page for people. It has no script and asks no other site for anything."""

import json
import shlex
from collections.abc import Iterator
from html import escape
from typing import Any

from fastapi import APIRouter
from starlette.requests import Request
from starlette.responses import HTMLResponse, Response

from handful.server.openapi_shared import spoken
from handful.server.openapi_tasks import PATH

router = APIRouter(tags=["health"])
_HEADERS = {"content-security-policy": "default-src 'none'; style-src 'unsafe-inline'; frame-ancestors 'none'"}
_STYLE = (
    "body{font:16px/1.5 sans-serif;max-width:60rem;margin:2rem auto;padding:0 1rem}summary{cursor:pointer}"
    "pre{background:#8882;padding:.6rem;overflow-x:auto}td{padding:0 1rem 0 0;vertical-align:top}"
)
_HTML = {"text/html": {"schema": {"type": "string"}, "example": "<!doctype html>"}}
_ANSWER: dict[int | str, dict[str, Any]] = {200: {"description": "Done.", "content": _HTML}}


@router.get("/docs", response_class=HTMLResponse, responses=_ANSWER, summary="This description as a page")
async def docs(request: Request) -> Response:
    """Every route with its parameters and examples, for people."""
    kept = request.app.state
    if not hasattr(kept, "docs_page"):
        kept.docs_page = "".join(page(request.app.openapi()))
    return HTMLResponse(kept.docs_page, headers=_HEADERS)


def page(document: dict[str, Any]) -> Iterator[str]:
    """The pieces of the page, of an OpenAPI document."""
    about = document["info"]
    yield f'<!doctype html><html lang="en"><meta charset="utf-8"><title>{escape(about["title"])}</title>'
    yield f"<style>{_STYLE}</style><h1>{escape(about['title'])} {escape(about['version'])}</h1>"
    yield f'<p>{escape(about["summary"])} The same for programs: <a href="openapi.json">openapi.json</a>.'
    yield " Where the server asks for tokens, send <code>Authorization: Bearer hf_...</code> with every request.</p>"
    for tag in document["tags"]:
        yield f"<h2>{escape(tag['name'])}</h2><p>{escape(tag['description'])}</p>"
        for path, methods in document["paths"].items():
            for method, operation in methods.items():
                if tag["name"] in operation["tags"]:
                    yield from _route(method, path, spoken(document, operation))


def _route(method: str, path: str, operation: dict[str, Any]) -> Iterator[str]:
    yield f"<details><summary><code>{method.upper()} {escape(path)}</code> {escape(operation['summary'])}</summary>"
    yield f"<p>{escape(operation['description'])}</p>"
    yield from _parameters(operation.get("parameters", ()))
    for name, body in _examples(operation.get("requestBody", {}).get("content", {})) or [("", {"value": None})]:
        said = f"{name}: {body['summary']}" if "summary" in body else name
        yield f"<p>{escape(said)}</p><pre>{escape(_command(method, path, operation, body))}</pre>"
    done = {status: answer for status, answer in operation["responses"].items() if status.startswith("2")}
    for status, answer in done.items():
        yield f"<p>{status}: {escape(answer['description'])}</p>"
        for name, example in _examples(answer.get("content", {})):
            value = example["value"]
            shown = value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)
            yield f"<pre>{escape(f'{name}: {shown}' if name else shown)}</pre>"
    failures = (
        f"{status}: {each['description']}" for status, each in operation["responses"].items() if status not in done
    )
    yield f"<p>{'<br>'.join(map(escape, sorted(failures)))}</p>"
    yield "</details>"


def _parameters(described: Any) -> Iterator[str]:
    if described:
        cells = (
            f"<tr><td><code>{escape(each['name'])}</code><td>{escape(each['in'])}"
            f"<td>{escape(each.get('description', ''))}<td><code>{escape(str(_shown(each)))}</code>"
            for each in described
        )
        yield f"<table>{''.join(cells)}</table>"


def _shown(parameter: dict[str, Any]) -> Any:
    shown = parameter.get("example", parameter["schema"].get("default", ""))
    return shown[0] if isinstance(shown, list) else shown


def _examples(content: dict[str, Any]) -> list[tuple[str, dict[str, Any]]]:
    """The examples of a body or an answer, each with its name, or "" for the only one."""
    found: list[tuple[str, dict[str, Any]]] = []
    for described in content.values():
        found += described.get("examples", {}).items()
        found += [("", {"value": described["example"]})] if "example" in described else []
    return found


def _command(method: str, path: str, operation: dict[str, Any], example: dict[str, Any]) -> str:
    """How curl asks for an example; `$URL` stands for the server's address."""
    body, names, query = example["value"], example.get(PATH, {}), ""
    for each in operation.get("parameters", ()):
        if each["in"] == "path":
            path = path.replace(f"{{{each['name']}}}", str(names.get(each["name"], _shown(each))))
        elif each["in"] == "query" and each.get("required"):
            query = f"?{each['name']}={_shown(each)}"
    verb = "" if method == ("get" if body is None else "post") else f"-X {method.upper()} "
    data = "" if body is None else f" -d {shlex.quote(json.dumps(body, ensure_ascii=False))}"
    if "application/octet-stream" in operation.get("requestBody", {}).get("content", {}):
        verb, data = "", " -T FILE"
    return f'curl {verb}"$URL{path}{query}"{data}'

"""GET /usage: what an account's tokens have used, by day, token and model."""

from dataclasses import asdict
from datetime import timedelta
from typing import Any

from fastapi import APIRouter
from starlette.requests import Request
from starlette.responses import Response

from handful.errors import InvalidParameterError, StoreError
from handful.protocol.hosted_shapes import USAGE, UsageAnswer
from handful.server.auth import caller_of
from handful.server.json_response import JSONResponse
from handful.server.openapi import json_answer
from handful.server.state import state_of
from handful.server.usage import today
from handful.store.usage import Usage, UsageRow

router = APIRouter(tags=["accounts"])
MAX_DAYS = 366
_DAYS: dict[str, Any] = {
    "parameters": [
        {
            "name": "days",
            "in": "query",
            "description": "How many days to show, today included.",
            "schema": {"type": "integer", "minimum": 1, "maximum": MAX_DAYS, "default": 30},
        }
    ]
}


@router.get("/usage", openapi_extra=_DAYS, responses=json_answer(UsageAnswer, USAGE), summary="Show usage")
async def show_usage(request: Request) -> Response:
    """Usage of all tokens of the caller's account, or, for a caller without a token, of those without one.

    Days are in UTC. `compute_time` is seconds of wall time with the model, queueing included.
    """
    access = state_of(request).access
    if access.recorder is None:
        raise StoreError("This server keeps no usage: it has no database.", fix="Its log says why.")
    caller, since = caller_of(request.scope), today() - timedelta(days=_days(request) - 1)
    rows = await access.threads.run(access.recorder.ledger.read, since, account=caller.account)
    total = sum((row.usage for row in rows), Usage())
    return JSONResponse(
        {
            "account": caller.account,
            "since": since.isoformat(),
            "usage": [_row(row) for row in rows],
            "total": _amounts(total),
            "unwritten_requests": access.recorder.num_unwritten_requests,
        }
    )


def _days(request: Request) -> int:
    asked = request.query_params.get("days", "30")
    if not (asked.isascii() and asked.isdecimal() and len(asked) < 5 and 1 <= int(asked) <= MAX_DAYS):
        raise InvalidParameterError("days", f"must be a whole number from 1 to {MAX_DAYS}.")
    return int(asked)


def _row(row: UsageRow) -> dict[str, Any]:
    token = {"id": row.key.token_id, "name": row.token_name, "prefix": row.token_prefix} if row.key.token_id else None
    return {"day": row.key.day.isoformat(), "model": row.key.model, "token": token} | _amounts(row.usage)


def _amounts(usage: Usage) -> dict[str, Any]:
    amounts = asdict(usage)
    return amounts | {"compute_time": round(amounts.pop("compute_us") / 1e6, 3)}

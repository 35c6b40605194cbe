"""What stands behind the `?` of a path: a route reads the names that its document has, and any other is refused."""

from fastapi.routing import APIRoute
from starlette.requests import Request

from handful.errors import InvalidParameterError


def names_read(route: APIRoute) -> tuple[str, ...]:
    """The names that a route reads, as /openapi.json has them."""
    described = (route.openapi_extra or {}).get("parameters", ())
    return tuple(each["name"] for each in described if each["in"] == "query")


def refuse_unknown_query(request: Request, known: tuple[str, ...]) -> None:
    """Refuse what means nothing here, as options do that belong into the body. Raises InvalidParameterError."""
    unknown = set(request.query_params) - set(known)
    if unknown:
        fix = f"There is only `{known[0]}`." if known else "Nothing is read behind the `?` of this route."
        raise InvalidParameterError(min(unknown)[:100], "is unknown here.", fix=fix)

"""Names of models and tasks in routes: what they may be made of, so that none is ever a path."""

import re

from handful.errors import InvalidInputError

NAME_PATTERN = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,95}(/[A-Za-z0-9][A-Za-z0-9._-]{0,95})?")


def check_name(kind: str, name: str) -> str:
    """The name, or InvalidInputError where it couldn't stand in a route."""
    if not isinstance(name, str) or not NAME_PATTERN.fullmatch(name):
        raise InvalidInputError(
            f"{str(name)[:100]!r} can't be the name of a {kind}.",
            fix="Names are letters, digits, dot, dash and underscore, with at most one slash between two of them.",
        )
    return name

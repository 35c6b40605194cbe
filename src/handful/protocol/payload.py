"""A request body becomes a Python value, whatever its Content-Type says.

People post with `requests` and `data=json.dumps(...)`, which sends no JSON content type, and the hosted API of 2021
also took a bare string; so the bytes decide. Whatever the bytes are, the outcome is a value or one `InvalidInputError`.
"""

import json
from typing import NoReturn

from handful.errors import InvalidInputError


def _refuse_constant(name: str) -> NoReturn:
    raise InvalidInputError(f"The body holds {name}, which is not JSON.", fix="Send finite numbers.")


def _decode(body: bytes) -> str:
    try:
        return body.decode("utf-8-sig")  # some shells write a byte order mark first, which is no part of what is said
    except UnicodeDecodeError as error:
        raise InvalidInputError(f"The body is not UTF-8 (byte {error.start}).", fix="Send the text as UTF-8.") from None


def parse_json(body: bytes) -> object:
    """The value of a JSON body.

    Raises InvalidInputError where it is not UTF-8, not JSON, nested too deeply, or holds NaN or an absurdly long
    number.
    """
    text = _decode(body)
    try:
        value: object = json.loads(text, parse_constant=_refuse_constant)
    except json.JSONDecodeError as error:
        raise InvalidInputError(f"The body is not JSON: {error.msg} (character {error.pos}).") from None
    except ValueError:  # int() refuses numbers of thousands of digits
        raise InvalidInputError("The body holds a number with too many digits.") from None
    except RecursionError:
        raise InvalidInputError("The body is nested too deeply.") from None
    return value


def parse_request(body: bytes) -> dict[str, object]:
    """The body of an Inference API request as an object with `inputs`.

    A JSON object is taken as it is; a JSON list or string is the inputs; anything that doesn't begin like JSON is raw
    text and is the inputs itself.
    """
    text = _decode(body)
    stripped = text.strip()
    if not stripped:
        raise InvalidInputError("The body is empty.", fix='Send {"inputs": "some text"}.')
    if stripped[0] not in '{["':
        return {"inputs": text}
    value = parse_json(body)
    return {str(key): part for key, part in value.items()} if isinstance(value, dict) else {"inputs": value}

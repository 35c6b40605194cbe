"""Bodies become values or one clear error, whatever their bytes."""

import json

import pytest

from handful.errors import InvalidInputError
from handful.protocol.payload import parse_json, parse_request


def test_a_json_object_is_taken_as_it_is() -> None:
    assert parse_request(b'{"inputs": "a", "stream": true}') == {"inputs": "a", "stream": True}


@pytest.mark.parametrize(
    ("body", "inputs"),
    [
        (b'"a string"', "a string"),
        (b'["a", "b"]', ["a", "b"]),
        (b"raw text", "raw text"),
        (b"5", "5"),
        (b"\xef\xbb\xbfraw text", "raw text"),
        (b'\xef\xbb\xbf{"inputs": "a"}', "a"),
        ("käse".encode(), "käse"),
    ],
)
def test_anything_but_an_object_is_the_inputs(body: bytes, inputs: object) -> None:
    assert parse_request(body) == {"inputs": inputs}


@pytest.mark.parametrize(
    ("body", "says"),
    [
        (b"", "empty"),
        (b"  \n", "empty"),
        (b'{"inputs": "a"', "not JSON"),
        (b'"half a string', "not JSON"),
        (b'{"inputs": "\xff\xfe"}', "not UTF-8"),
        (b'{"temperature": NaN}', "NaN"),
        (b'{"temperature": -Infinity}', "Infinity"),
        (b'{"seed": ' + b"9" * 5000 + b"}", "too many digits"),
        (b"[" * 100_000, "nested too deeply"),
        (b'{"a":' * 100_000, "nested too deeply"),
    ],
)
def test_a_body_that_is_no_request_is_refused(body: bytes, says: str) -> None:
    with pytest.raises(InvalidInputError, match=says):
        parse_request(body)


def test_an_error_never_quotes_the_body() -> None:
    with pytest.raises(InvalidInputError) as caught:
        parse_json(b'{"inputs": secret}')
    assert "secret" not in str(caught.value)


def test_numbers_beyond_64_bits_are_parsed_for_the_schema_to_refuse() -> None:
    assert parse_json(json.dumps({"seed": 2**70}).encode()) == {"seed": 2**70}

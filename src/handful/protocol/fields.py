"""Field types that several surfaces share. Lengths are checked before anything inside is looked at."""

from typing import Annotated, TypeVar

from pydantic import BeforeValidator
from pydantic_core import PydanticCustomError

Value = TypeVar("Value")
MAX_TEXTS = 4096
"""Texts that one list may hold in a schema; a server's own limit may be lower."""


def _check_text(text: object) -> None:
    if not isinstance(text, str):
        raise PydanticCustomError("text", "should be a string or a list of strings")
    try:
        text.encode("utf-8")
    except UnicodeEncodeError:  # JSON can spell half a surrogate pair; no tokenizer can read one
        raise PydanticCustomError("text", "holds half a surrogate pair, which is not text") from None


def _check_texts(value: object) -> object:
    """Accept a string or a list of strings, and stop at the first thing that is neither."""
    if value is None:
        return None
    texts = value if isinstance(value, list) else [value]
    if len(texts) > MAX_TEXTS:
        raise PydanticCustomError("texts", "takes at most {limit} strings", {"limit": MAX_TEXTS})
    for text in texts:
        _check_text(text)
    return value


def _check_choices(value: object) -> object:
    """Refuse a list of nothing: read as "any text" it would undo what was asked for."""
    if value == []:
        raise PydanticCustomError("choices", "should have at least one text: leave it out where any text will do")
    return value


def null_is_unset(value: object) -> object:
    """Older clients send every parameter, with null where it is unset."""
    return {key: part for key, part in value.items() if part is not None} if isinstance(value, dict) else value


Texts = Annotated[str | list[str], BeforeValidator(_check_texts)]
"""A string or a list of at most `MAX_TEXTS` strings, all of them encodable as UTF-8."""

Choices = Annotated[Texts, BeforeValidator(_check_choices)]
"""The same with at least one text."""


def as_tuple(texts: str | list[str] | None) -> tuple[str, ...]:
    """A field of `Texts` as a tuple; none for null."""
    if texts is None:
        return ()
    return (texts,) if isinstance(texts, str) else tuple(texts)

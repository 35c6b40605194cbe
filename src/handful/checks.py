"""Checks of single values that callers give: each refuses by the name that the caller wrote."""

import math
import re

from handful.errors import InvalidInputError, InvalidParameterError

_REVISION = re.compile(r"[A-Za-z0-9][A-Za-z0-9._/-]{0,127}", re.ASCII)


def check_is_list(what: str, given: object) -> None:
    """InvalidInputError for one text where a list of them is meant: its characters would be taken for the texts."""
    if isinstance(given, str | bytes):
        raise InvalidInputError(f"The {what} must be a list of texts.", fix="For a single one, write [text].")


def check_revision(name: str, value: str | None) -> None:
    """Refuse what can't be a branch, a tag or a commit of the Hub, and could be a path. None means unset."""
    if value is not None and (not _REVISION.fullmatch(value) or ".." in value or "//" in value):
        raise InvalidParameterError(name, f"{value[:100]!r} is not the name of a branch, a tag or a commit.")


def check_number(name: str, value: float | None, low: float, high: float, *, above: bool = False) -> None:
    """Refuse anything but a finite number in [low, high] (or in (low, high] when `above`). None means unset."""
    if value is None:
        return
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise InvalidParameterError(name, f"must be a number, not {type(value).__name__}.")
    if not math.isfinite(value) or value < low or value > high or (above and value == low):
        opening = "more than" if above else "at least"
        raise InvalidParameterError(name, f"must be {opening} {low:g} and at most {high:g}, not {value!r}.")


def check_integer(name: str, value: int | None, low: int, high: int) -> None:
    """Refuse anything but a whole number in [low, high]. None means unset."""
    if value is None:
        return
    if isinstance(value, bool) or not isinstance(value, int):
        raise InvalidParameterError(name, f"must be a whole number, not {type(value).__name__}.")
    if not low <= value <= high:
        raise InvalidParameterError(name, f"must be from {low} to {high}, not {value}.")


def check_switch(name: str, value: object) -> None:
    """Refuse anything but true or false."""
    if not isinstance(value, bool):
        raise InvalidParameterError(name, f"must be true or false, not {type(value).__name__}.")


def check_one_of(name: str, value: object, allowed: tuple[str, ...]) -> None:
    """Refuse anything but one of some words."""
    if value not in allowed:
        raise InvalidParameterError(name, f"must be one of {', '.join(allowed)}, not {value!r}.")


def check_strings(name: str, values: tuple[str, ...], least: int) -> None:
    """Refuse anything but a tuple of at least `least` strings, none of them empty."""
    if not isinstance(values, tuple) or not all(isinstance(value, str) for value in values):
        raise InvalidParameterError(name, "must be strings.")
    if len(values) < least:
        raise InvalidParameterError(name, f"must hold at least {least} string{'s' * (least > 1)}.")
    if any(not value.strip() for value in values):
        raise InvalidParameterError(name, "must not hold an empty string.")

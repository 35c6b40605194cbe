"""What one request may bring: bytes, time to bring them, characters, and how many completions they multiply to."""

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass

from starlette.requests import Request
from starlette.types import Receive

from handful.config import Settings
from handful.errors import InvalidInputError
from handful.server.errors import BodyTooLargeError, ClientLeftError, SlowBodyError


@dataclass(frozen=True, slots=True, kw_only=True)
class Limits:
    """Bounds on one request, from the settings."""

    max_body_bytes: int = 16 * 1024 * 1024
    max_input_characters: int = 1_000_000
    max_completions: int = 1024
    body_timeout_s: float = 30.0
    request_timeout_s: float = 600.0
    drain_timeout_s: float = 30.0

    @classmethod
    def from_settings(cls, settings: Settings) -> "Limits":
        """The limits that the operator set."""
        return cls(
            max_body_bytes=settings.max_body_mb * 1024 * 1024,
            max_input_characters=settings.max_input_characters,
            max_completions=settings.max_batch_inputs,
            request_timeout_s=settings.request_timeout_s,
            drain_timeout_s=settings.drain_timeout_s,
        )

    def check_texts(self, lengths: Sequence[int], completions_each: int = 1) -> None:
        """Refuse texts that are too long (in characters), or too many of them. Raises InvalidInputError."""
        longest = max(lengths)
        if longest > self.max_input_characters:
            raise InvalidInputError(
                f"An input has {longest} characters; at most {self.max_input_characters} are accepted.",
                fix="Shorten it: nothing is cut silently.",
            )
        if len(lengths) * completions_each > self.max_completions:
            raise InvalidInputError(
                f"{len(lengths)} inputs with {completions_each} completions each are more than {self.max_completions}.",
                fix="Send them in several requests.",
            )


async def read_body(request: Request, limits: Limits) -> bytes:
    """A request's body, refused while it is read: too large (413), too slow (408), or its sender gone."""
    for name, declared in request.scope["headers"]:
        if name == b"content-length" and declared.isdigit() and len(declared) < 20:
            if int(declared) > limits.max_body_bytes:
                raise _too_large(limits)
            break
    try:
        async with asyncio.timeout(limits.body_timeout_s):
            return await _read(request.receive, limits)
    except TimeoutError:
        raise SlowBodyError(f"The body did not arrive within {limits.body_timeout_s:g} seconds.") from None


async def _read(receive: Receive, limits: Limits) -> bytes:
    parts: list[bytes] = []
    num_bytes, is_whole = 0, False
    while not is_whole:
        message = await receive()
        if message["type"] == "http.disconnect":
            raise ClientLeftError("The client left before its body was complete.")
        part = message.get("body", b"")
        num_bytes += len(part)
        if num_bytes > limits.max_body_bytes:
            raise _too_large(limits)
        parts.append(part)
        is_whole = not message.get("more_body", False)
    return b"".join(parts)


def _too_large(limits: Limits) -> BodyTooLargeError:
    megabytes = limits.max_body_bytes / 1024 / 1024
    return BodyTooLargeError(f"The body is larger than {megabytes:g} MiB.", fix="Send the inputs in several requests.")

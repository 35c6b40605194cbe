"""From tokens to text as they come, and where an end sequence ends it. Pure text: the tokenizer is a function here.

Two small machines, both of them incremental:
* `Detokenizer` decodes a growing token list without decoding it all again, and holds back a character whose bytes are
  not all there yet.
* `StopMatcher` finds the first end sequence in a growing text, wherever the token boundary falls, and holds back text
  that may still become part of one.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

Decode = Callable[[Sequence[int]], str]

REPLACEMENT = "\ufffd"  # what decoders write for bytes that are no whole character (yet)
MAX_HELD_TOKENS = 8  # a character has at most 4 bytes; after this many tokens the bytes are simply not valid UTF-8


class Detokenizer:
    """Text of tokens, delta by delta. The deltas and `flush` joined are `decode` of all the tokens.

    Some tokenizers decode a token differently at the start of a text (a word's leading space), so each delta is taken
    as the difference of two decodings that both begin a few tokens earlier.
    """

    def __init__(self, decode: Decode) -> None:
        self._decode = decode
        self._ids: list[int] = []
        self._context_start = 0
        self._read = 0

    def append(self, token_id: int) -> str:
        """Take one more token; returns the text that is now certain."""
        self._ids.append(token_id)
        return self._advance(final=False)

    def flush(self) -> str:
        """The text still held back (broken characters included)."""
        return self._advance(final=True)

    def _advance(self, *, final: bool) -> str:
        known = self._decode(self._ids[self._context_start : self._read])
        text = self._decode(self._ids[self._context_start :])
        is_cut = text.endswith(REPLACEMENT) and len(self._ids) - self._read < MAX_HELD_TOKENS
        if len(text) <= len(known) or (is_cut and not final):
            return ""
        self._context_start = self._read
        self._read = len(self._ids)
        return text[len(known) :]


class StopMatcher:
    """Cuts a growing text at the first of several end sequences.

    First means the match that ends earliest (of those the longest), as if the text came character by character: so
    the result doesn't depend on how the text is cut into pieces. Text is released as soon as it can't be part of a
    match any more. `found` is the end sequence that matched, or "".
    """

    def __init__(self, stops: Sequence[str]) -> None:
        self._stops = tuple(stops)
        self._held = ""
        self.found = ""

    def append(self, text: str) -> str:
        """Take more text; returns what can be released. After a match nothing more is released."""
        if self.found:
            return ""
        self._held += text
        start = self._match()
        if self.found:
            released, self._held = self._held[:start], ""
            return released
        keep = self._num_possible()
        released = self._held[: len(self._held) - keep]
        self._held = self._held[len(self._held) - keep :]
        return released

    def flush(self) -> str:
        """The text ended without (more of) an end sequence: what was held back."""
        released, self._held = self._held, ""
        return released

    def _match(self) -> int:
        """Set `found` to the first match in the held text, if there is one; returns where it starts."""
        hits = [(start + len(stop), start, stop) for stop in self._stops if (start := self._held.find(stop)) >= 0]
        if not hits:
            return -1
        _, start, self.found = min(hits)
        return start

    def _num_possible(self) -> int:
        """Length of the longest end of the held text that begins an end sequence."""
        longest = 0
        for stop in self._stops:
            for length in range(min(len(stop) - 1, len(self._held)), longest, -1):
                if stop.startswith(self._held[-length:]):
                    longest = length
                    break
        return longest


@dataclass(slots=True)
class TextState:
    """The text of one completion while it grows."""

    decode: Decode
    stops: tuple[str, ...]
    text: str = ""
    _detokenizer: Detokenizer = field(init=False)
    _matcher: StopMatcher = field(init=False)

    def __post_init__(self) -> None:
        self._detokenizer = Detokenizer(self.decode)
        self._matcher = StopMatcher(self.stops)

    @property
    def stop(self) -> str:
        """The end sequence that was matched, or ""."""
        return self._matcher.found

    def append(self, token_id: int) -> str:
        """Take one more token; returns the text it releases."""
        return self._release(self._matcher.append(self._detokenizer.append(token_id)))

    def flush(self) -> str:
        """The completion ended: the text that was held back. An end sequence found now still cuts it."""
        released = self._matcher.append(self._detokenizer.flush())
        return self._release(released + self._matcher.flush())

    def _release(self, text: str) -> str:
        self.text += text
        return text

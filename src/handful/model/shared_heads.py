"""The token ids of what prompts begin with, remembered: of a few-shot prompt only the query is encoded each time.

A head is remembered when two texts have shown it. Callers are kept apart (`owner`), or the time that a text takes would
tell one what another has sent.
"""

import threading
from collections import OrderedDict
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

from handful.model.line_cuts import cut_before, is_cut

Encode = Callable[[Sequence[str]], Sequence[Sequence[int]]]

KEY_CHARACTERS = 256
"""Texts that agree in so many characters are compared; shorter heads aren't worth it."""
WORTH_LEARNING = 512
"""A head that leaves more than so many characters of a text may be too short."""
_HEADS_EACH = 4
_NUM_SHOWING = 2


@dataclass(slots=True)
class _Family:
    """Texts that begin alike: the last one, and the heads that were found, the longest first."""

    last: str = ""
    heads: list[tuple[str, tuple[int, ...]]] = field(default_factory=list)

    @property
    def num_characters(self) -> int:
        return len(self.last) + sum(len(head) for head, _ in self.heads)


class SharedHeads:
    """What texts began with, the least recently used forgotten first. Thread-safe.

    `encode` gives the ids of texts without what a tokenizer adds, and must be exact at `line_cuts`.
    """

    def __init__(self, encode: Encode, max_characters: int = 1_000_000) -> None:
        self._encode = encode
        self._max_characters = max_characters
        self._families: OrderedDict[tuple[str, str], _Family] = OrderedDict()
        self._num_characters = 0
        self._lock = threading.Lock()

    def find(self, owner: str, text: str) -> tuple[int, tuple[int, ...]]:
        """How many characters of `text` are a known head, and its ids."""
        with self._lock:
            family = self._families.get((owner, text[:KEY_CHARACTERS]))
            for head, ids in family.heads if family is not None else ():
                if text.startswith(head) and is_cut(text, len(head)):
                    self._families.move_to_end((owner, text[:KEY_CHARACTERS]))
                    return len(head), ids
        return 0, ()

    def encode(self, owner: str, texts: Sequence[str]) -> list[tuple[int, ...]]:
        """The ids of texts. The first two may show a head that the others of them have, too."""
        encoded: list[tuple[int, ...]] = []
        for some in (*([text] for text in texts[:_NUM_SHOWING]), texts[_NUM_SHOWING:]):
            found = [self.find(owner, text) for text in some]
            rests = self._encode([text[known:] for text, (known, _) in zip(some, found, strict=True)]) if some else []
            encoded += [ids + tuple(rest) for (_, ids), rest in zip(found, rests, strict=True)]
            for text, (known, _) in list(zip(some, found, strict=True))[-1:]:
                self._learn(owner, text, known)
        return encoded

    def _learn(self, owner: str, text: str, known: int) -> None:
        """Remember what `text` shares with the last one that began like it."""
        if len(text) - known <= WORTH_LEARNING or len(text) * _HEADS_EACH > self._max_characters:
            return
        key = owner, text[:KEY_CHARACTERS]
        with self._lock:
            last = self._families[key].last if key in self._families else ""
        cut = cut_before(text, _num_common(last, text))
        head = text[:cut]
        ids = tuple(self._encode([head])[0]) if cut > max(known, KEY_CHARACTERS) else ()
        with self._lock:
            family = self._families.pop(key, _Family())
            self._num_characters -= family.num_characters
            family.last = text
            if ids and all(head != each for each, _ in family.heads):
                family.heads = sorted([*family.heads[: _HEADS_EACH - 1], (head, ids)], key=lambda each: -len(each[0]))
            self._families[key] = family
            self._num_characters += family.num_characters
            while self._num_characters > self._max_characters:
                _, forgotten = self._families.popitem(last=False)
                self._num_characters -= forgotten.num_characters


def _num_common(one: str, other: str) -> int:
    """How many characters two texts begin with in common."""
    low, high = 0, min(len(one), len(other))
    while low < high:
        middle = (low + high + 1) // 2
        low, high = (middle, high) if one[:middle] == other[:middle] else (low, middle - 1)
    return low

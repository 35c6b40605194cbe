"""Where a text can be cut so that the tokens of both parts in a row are the tokens of the whole.

Known of byte-level BPE with GPT-2's pattern (GPT-2, GPT-Neo, SmolLM2, ...): each match of the pattern is merged by
itself, and behind a single line break between two characters that aren't white space there is always a boundary. The
break itself is matched by `\\s+` alone, whatever stands on either side, because no other alternative takes one, and
with only one character of white space the lookahead of `\\s+(?!\\S)` has nothing to give back. Marks like
`<|endoftext|>` are found before the pattern; none may have a line break in it or eat white space beside it.
"""

import json
from typing import Any

from tokenizers import Tokenizer as RawTokenizer
from tokenizers.models import BPE


def cuts_at_lines(raw: RawTokenizer) -> bool:
    """Whether `cut_before` may be used with a tokenizer. False where that isn't known for sure."""
    if raw.normalizer is not None or not isinstance(raw.model, BPE) or raw.model.dropout:
        return False
    marks = raw.get_added_tokens_decoder().values()
    if any(mark.lstrip or mark.rstrip or mark.single_word or "\n" in mark.content for mark in marks):
        return False
    return raw.pre_tokenizer is not None and _is_gpt2(json.loads(raw.pre_tokenizer.__getstate__()))


def _is_gpt2(described: dict[str, Any]) -> bool:
    steps = described["pretokenizers"] if described["type"] == "Sequence" else [described]
    *before, last = steps
    is_known = last["type"] == "ByteLevel" and last["use_regex"] and not last["add_prefix_space"]
    return is_known and all(step["type"] == "Digits" for step in before)


def is_cut(text: str, at: int) -> bool:
    """Whether `text` can be cut between the characters `at - 1` and `at`."""
    return 2 <= at < len(text) and text[at - 1] == "\n" and not text[at - 2].isspace() and not text[at].isspace()


def cut_before(text: str, end: int) -> int:
    """The last place at or before `end` where `text` can be cut, or 0."""
    at = min(end, len(text) - 1)
    while at > 0:
        at = text.rfind("\n", 0, at) + 1
        if is_cut(text, at):
            return at
        at -= 1
    return 0

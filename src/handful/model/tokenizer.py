"""Text to token ids and back.

Invariant: a prompt's ids are what the tokenizer adds at the start (a BOS where the model was trained with one) and the
text's own ids; nothing is ever added at the end, so that what is generated continues the text.

A text that spells a special token (`<|endoftext|>`) gets that token, as everywhere in the field. Who puts texts of
strangers into a prompt and doesn't want that must remove such strings first.
"""

from collections.abc import Sequence
from pathlib import Path

from tokenizers import Tokenizer as RawTokenizer

from handful.errors import CheckpointError, InvalidInputError
from handful.model.line_cuts import cuts_at_lines
from handful.model.shared_heads import SharedHeads
from handful.model.tokenizer_files import named_tokens, read_tokenizer_files, without_dummy_prefix
from handful.types import TextSpan


class Tokenizer:
    """The tokenizer of a model's folder. Thread-safe: nothing but what is remembered changes after it is made.

    bos_token_id     the beginning-of-text token, or None. Whether prompts start with it is `num_prefix_tokens`
    eos_token_ids    tokens that end a generation (generation_config.json, else config.json, else the tokenizer)
    vocab_size       ids are 0 .. vocab_size - 1; a model's output may be padded to more
    chat_template    the template's source as data, or None; nothing here renders it
    special_tokens   texts of the special tokens by name (`bos_token`, `eos_token`, ...), as the files declare them

    `num_known` is how many ids the model has, where that is known: one that it never gives ends nothing.
    Raises NotFoundError and CheckpointError when it is made.
    """

    def __init__(self, folder: Path, num_known: int | None = None) -> None:
        files = read_tokenizer_files(folder)
        self._raw = files.raw
        self._inner = without_dummy_prefix(files.raw)
        self._prefix = _added_at_start(files.raw, folder)
        self._heads = SharedHeads(self._encode_all) if cuts_at_lines(files.raw) else None
        self._special_ids = frozenset(i for i, added in files.raw.get_added_tokens_decoder().items() if added.special)
        self.bos_token_id = files.bos_token_id
        self.eos_token_ids = frozenset(i for i in files.eos_token_ids if num_known is None or i < num_known)
        self.chat_template = files.chat_template
        self.special_tokens = named_tokens(files.declared)
        self.vocab_size: int = files.raw.get_vocab_size(with_added_tokens=True)

    @property
    def num_prefix_tokens(self) -> int:
        """How many tokens every prompt starts with before its text (1 where a BOS is added, else 0)."""
        return len(self._prefix)

    def encode(self, text: str) -> list[int]:
        """Token ids of a prompt, with what the tokenizer adds at its start. InvalidInputError for text that isn't."""
        return self._prefix + self._raw.encode(checked_text(text), add_special_tokens=False).ids

    def encode_prompts(self, texts: Sequence[str], owner: str = "") -> list[tuple[int, ...]]:
        """`encode` of many texts at once, on several threads; what they begin with is remembered for `owner` alone."""
        checked = [checked_text(text) for text in texts]
        encoded = self._encode_all(checked) if self._heads is None else self._heads.encode(owner, checked)
        return [tuple(ids) for ids in encoded] if not self._prefix else [(*self._prefix, *ids) for ids in encoded]

    def num_to_encode(self, text: str, owner: str = "") -> int:
        """How many characters of a prompt have to be encoded: all but what is remembered."""
        return len(text) - (0 if self._heads is None else self._heads.find(owner, text)[0])

    def _encode_all(self, texts: Sequence[str]) -> list[list[int]]:
        if len(texts) == 1:  # threads aren't worth it
            return [self._raw.encode(texts[0], add_special_tokens=False).ids]
        return [each.ids for each in self._raw.encode_batch_fast(texts, add_special_tokens=False)]

    def spans(self, text: str, *, add_special: bool = True) -> tuple[TextSpan, ...]:
        """The tokens of a text with the characters that each stands for; added ones stand for none."""
        encoded = self._raw.encode(checked_text(text), add_special_tokens=False)
        added = [TextSpan(i, self.token_text(i), 0, 0) for i in (self._prefix if add_special else [])]
        spans = zip(encoded.ids, encoded.offsets, strict=True)
        return (*added, *(TextSpan(i, text[start:stop], start, stop) for i, (start, stop) in spans))

    def encode_continuation(self, prompt: str, continuation: str) -> tuple[list[int], list[int]]:
        """Ids of a prompt and of the text right behind it, split where a continuation should be scored.

        A prompt's trailing whitespace goes to the continuation, because tokens carry their space in front (` Paris`).
        Where the tokens of both texts together begin with the prompt's own, the rest is the continuation; where they
        don't (a token would reach across), the two are encoded apart. Decoding both in a row gives the texts back.
        A prompt of nothing but whitespace keeps it. Raises InvalidInputError.
        """
        kept = checked_text(prompt).rstrip() or prompt
        moved = prompt[len(kept) :] + checked_text(continuation)
        prompt_ids = self.encode(kept)
        both_ids = self.encode(kept + moved)
        if both_ids[: len(prompt_ids)] == prompt_ids:
            return prompt_ids, both_ids[len(prompt_ids) :]
        return prompt_ids, self.encode_behind(moved)

    def encode_behind(self, text: str) -> list[int]:
        """Ids of a text that stands behind others, whose tokens stay as they are. Raises InvalidInputError."""
        ids: list[int] = self._inner.encode(checked_text(text), add_special_tokens=False).ids
        return ids

    def decode(self, ids: Sequence[int], *, skip_special: bool = True) -> str:
        """The text of a whole sequence. Bytes that aren't UTF-8 (half a character) become U+FFFD."""
        return self._raw.decode(ids, skip_special_tokens=skip_special)

    def decode_continuation(self, ids: Sequence[int], *, skip_special: bool = True) -> str:
        """The text of tokens that stand behind others: a leading space stays, which `decode` may take off."""
        return self._inner.decode(ids, skip_special_tokens=skip_special)

    def token_text(self, token_id: int) -> str:
        """One token as text, its leading space and special tokens included; U+FFFD for a part of a character."""
        return self._inner.decode([token_id], skip_special_tokens=False)

    def is_special(self, token_id: int) -> bool:
        """Whether a token is a mark (BOS, end of text) rather than text."""
        return token_id in self._special_ids


def checked_text(text: str) -> str:
    """`text`, or InvalidInputError when it is not a string or holds half a surrogate pair, which has no bytes."""
    if not isinstance(text, str):
        raise InvalidInputError(f"A text must be a string, not {type(text).__name__}.", fix="Decode bytes first.")
    try:
        text.encode("utf-8")
    except UnicodeEncodeError as problem:
        raise InvalidInputError(
            f"The text is not valid Unicode: character {problem.start} is half of a surrogate pair.",
            fix="Read the text as UTF-8.",
        ) from None
    return text


def _added_at_start(raw: RawTokenizer, folder: Path) -> list[int]:
    """What the post-processor puts before a text, found by encoding a text with and without it."""
    bare: list[int] = raw.encode("a", add_special_tokens=False).ids
    full: list[int] = raw.encode("a", add_special_tokens=True).ids
    for start in range(len(full) - len(bare) + 1):
        if full[start : start + len(bare)] == bare:
            return full[:start]
    raise CheckpointError(
        f"The post-processor of the tokenizer in {folder} changes the text itself.", fix="Use another tokenizer.json."
    )

"""The tokenizer inside a GGUF file, written as tokenizer.json and tokenizer_config.json.

Two kinds: `gpt2` (byte-level BPE; how a text is cut into words is named by `tokenizer.ggml.pre`) and `llama`
(SentencePiece BPE with byte fallback). Anything else is refused by name rather than tokenized almost right.
The cutting rules are those of the tokenizer.json files that the models were published with.
"""

from typing import Any

from tokenizers import AddedToken, Regex, Tokenizer, decoders, normalizers, pre_tokenizers, processors
from tokenizers.models import BPE

from handful.errors import CheckpointError
from handful.model.gguf_file import FIX, Value

Metadata = dict[str, Value]

_NORMAL, _UNKNOWN, _CONTROL, _USER_DEFINED, _BYTE = 1, 2, 3, 4, 6
_SPACE = "▁"
_MAX_PIECE_CHARACTERS = 256

_WORDS_BY_DIGITS = (
    r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{{L}}\p{{N}}]?\p{{L}}+|\p{{N}}{digits}"
    r"| ?[^\s\p{{L}}\p{{N}}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+"
)
_SINGLE_DIGITS = {"smollm", "starcoder", "refact", "command-r", "codeshell"}
_PLAIN = {"gpt-2", "gpt2", "phi-2", "mpt", "olmo", "jais", "gigachat"}
_REGEXES = {
    "llama-bpe": _WORDS_BY_DIGITS.format(digits="{1,3}"),
    "llama3": _WORDS_BY_DIGITS.format(digits="{1,3}"),
    "llama-v3": _WORDS_BY_DIGITS.format(digits="{1,3}"),
    "qwen2": _WORDS_BY_DIGITS.format(digits=""),
    "deepseek-r1-qwen": _WORDS_BY_DIGITS.format(digits=""),
}
# End-of-text marks beside the one that `tokenizer.ggml.eos_token_id` names: a chat model ends its turn with one token
# and a document with another, and a few-shot completion may end with either.
_END_MARKS = ("<|endoftext|>", "<|im_end|>", "<|eot_id|>", "<|end_of_text|>", "</s>")


class GgufTokenizer:
    """A tokenizer built from GGUF metadata. Raises CheckpointError when it is damaged or of another kind."""

    def __init__(self, metadata: Metadata) -> None:
        self._metadata = metadata
        self.tokens = self._strings("tokenizer.ggml.tokens")
        self._kinds = self._token_kinds()
        kind = metadata.get("tokenizer.ggml.model")
        try:
            if kind == "gpt2":
                self.raw = self._byte_level()
            elif kind == "llama":
                self.raw = self._sentencepiece()
            else:
                raise CheckpointError(f"its tokenizer is of the kind {kind!r}", fix="`gpt2` and `llama` are read.")
            self._add_marks()
        except CheckpointError:
            raise
        except Exception as problem:  # noqa: BLE001 - tokenizers raises bare Exception
            raise CheckpointError(f"its tokenizer is damaged ({problem})", fix=FIX) from None

    @property
    def eos_token_ids(self) -> list[int]:
        """The token that ends a text, first, and other control tokens that are known to end one."""
        ids = [] if (eos := self._token_id("eos")) is None else [eos]
        ids += [i for i in (self._token_id("eot"), self._token_id("eom")) if i is not None]
        ids += [i for i, token in enumerate(self.tokens) if token in _END_MARKS and self._kinds[i] == _CONTROL]
        return list(dict.fromkeys(ids))

    @property
    def bos_token_id(self) -> int | None:
        """The token that begins a text, or None."""
        return self._token_id("bos")

    def config(self) -> dict[str, Any]:
        """What goes into tokenizer_config.json; a chat template stays a string."""
        named = {name: self._token_id(name) for name in ("bos", "eos", "unknown", "padding")}
        keys = {"bos": "bos_token", "eos": "eos_token", "unknown": "unk_token", "padding": "pad_token"}
        config: dict[str, Any] = {keys[name]: self.tokens[i] for name, i in named.items() if i is not None}
        config |= {"tokenizer_class": "PreTrainedTokenizerFast", "add_bos_token": self._adds_bos()}
        config["clean_up_tokenization_spaces"] = False
        if isinstance(template := self._metadata.get("tokenizer.chat_template"), str):
            config["chat_template"] = template
        return config

    def _byte_level(self) -> Tokenizer:
        pre = str(self._metadata.get("tokenizer.ggml.pre", "gpt-2"))
        merges = [tuple(merge.split(" ")) for merge in self._strings("tokenizer.ggml.merges")]
        if any(len(pair) != 2 for pair in merges):
            raise CheckpointError("a merge of its tokenizer is not two tokens", fix=FIX)
        pairs = [(pair[0], pair[1]) for pair in merges]
        raw = Tokenizer(BPE(vocab=self._vocabulary(), merges=pairs, ignore_merges=pre in ("llama-bpe", "llama3")))
        raw.pre_tokenizer = _word_cutter(pre)
        raw.decoder = decoders.ByteLevel()
        if pre in ("qwen2", "deepseek-r1-qwen"):
            raw.normalizer = normalizers.NFC()
        return raw

    def _sentencepiece(self) -> Tokenizer:
        """BPE whose merges are all pairs of pieces that make a piece, the likeliest piece first."""
        vocabulary = self._vocabulary()
        unknown = self._kinds.index(_UNKNOWN) if _UNKNOWN in self._kinds else None
        model = BPE(
            vocab=vocabulary,
            merges=self._merges_by_score(vocabulary),
            unk_token=None if unknown is None else self.tokens[unknown],
            fuse_unk=True,
            byte_fallback=True,
        )
        raw = Tokenizer(model)
        prefixed = self._metadata.get("tokenizer.ggml.add_space_prefix", True) is True
        prepend = [normalizers.Prepend(_SPACE)] if prefixed else []
        raw.normalizer = normalizers.Sequence([*prepend, normalizers.Replace(" ", _SPACE)])
        strip = [decoders.Strip(content=" ", left=1, right=0)] if prefixed else []
        steps = [decoders.Replace(_SPACE, " "), decoders.ByteFallback(), decoders.Fuse(), *strip]
        raw.decoder = decoders.Sequence(steps)
        return raw

    def _merges_by_score(self, vocabulary: dict[str, int]) -> list[tuple[str, str]]:
        scores = self._metadata.get("tokenizer.ggml.scores")
        if not isinstance(scores, list) or len(scores) != len(self.tokens):
            raise CheckpointError("its tokenizer has no score for each token", fix=FIX)
        ranked: list[tuple[float, int, int, int]] = []
        for i, (token, kind) in enumerate(zip(self.tokens, self._kinds, strict=True)):
            if kind != _NORMAL or len(token) > _MAX_PIECE_CHARACTERS:
                continue
            for cut in range(1, len(token)):
                left, right = vocabulary.get(token[:cut]), vocabulary.get(token[cut:])
                if left is not None and right is not None:
                    ranked.append((-float(str(scores[i])), i, left, right))
        return [(self.tokens[left], self.tokens[right]) for _, _, left, right in sorted(ranked)]

    def _add_marks(self) -> None:
        """Control tokens are special; tokens that a user defined are found in texts but aren't special."""
        self.raw.add_special_tokens(
            [AddedToken(t, normalized=False, special=True) for t in self._of_kind(_CONTROL, _UNKNOWN)]
        )
        self.raw.add_tokens([AddedToken(t, normalized=False) for t in self._of_kind(_USER_DEFINED)])
        bos = self.bos_token_id
        if self._adds_bos() and bos is not None:
            mark = self.tokens[bos]
            self.raw.post_processor = processors.TemplateProcessing(
                single=[mark, "$A"], pair=None, special_tokens=[(mark, bos)]
            )

    def _of_kind(self, *kinds: int) -> list[str]:
        return [token for token, kind in zip(self.tokens, self._kinds, strict=True) if kind in kinds and token]

    def _adds_bos(self) -> bool:
        """What the file says; where it doesn't, SentencePiece models of this format start with BOS, others don't."""
        default = self._metadata.get("tokenizer.ggml.model") == "llama" or self._metadata.get("tokenizer.ggml.pre") in (
            "llama-bpe",
            "llama3",
            "llama-v3",
        )
        return self._metadata.get("tokenizer.ggml.add_bos_token", default) is True

    def _vocabulary(self) -> dict[str, int]:
        vocabulary = {token: i for i, token in enumerate(self.tokens)}
        if len(vocabulary) != len(self.tokens):
            raise CheckpointError("its tokenizer has a token twice", fix=FIX)
        return vocabulary

    def _strings(self, key: str) -> list[str]:
        values = self._metadata.get(key)
        if not isinstance(values, list) or not values or not isinstance(values[0], str):
            raise CheckpointError(f"it has no list of texts under {key}", fix=FIX)
        return [str(value) for value in values]

    def _token_kinds(self) -> list[int]:
        kinds = self._metadata.get("tokenizer.ggml.token_type", [_NORMAL] * len(self.tokens))
        if not isinstance(kinds, list) or len(kinds) != len(self.tokens):
            raise CheckpointError("its tokenizer has no type for each token", fix=FIX)
        return [int(kind) for kind in kinds]

    def _token_id(self, name: str) -> int | None:
        value = self._metadata.get(f"tokenizer.ggml.{name}_token_id")
        if value is None:
            return None
        if not isinstance(value, int) or not 0 <= value < len(self.tokens):
            raise CheckpointError(f"its {name} token is {value!r}, outside the vocabulary", fix=FIX)
        return value


def _word_cutter(pre: str) -> Any:
    """The pre-tokenizer that a GGUF file names, or CheckpointError for one that isn't known."""
    if pre in _PLAIN:
        return pre_tokenizers.ByteLevel(add_prefix_space=False)
    if pre in _SINGLE_DIGITS:
        digits = pre_tokenizers.Digits(individual_digits=True)
        return pre_tokenizers.Sequence([digits, pre_tokenizers.ByteLevel(add_prefix_space=False)])
    if pre in _REGEXES:
        cut = pre_tokenizers.Split(Regex(_REGEXES[pre]), behavior="isolated")
        return pre_tokenizers.Sequence([cut, pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False)])
    known = ", ".join(sorted(_PLAIN | _SINGLE_DIGITS | set(_REGEXES)))
    raise CheckpointError(f"its tokenizer cuts words by the rule {pre!r}, which isn't known", fix=f"Known: {known}.")

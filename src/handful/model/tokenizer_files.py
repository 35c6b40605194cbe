"""From a folder's files to a `tokenizers` tokenizer: which file is read, and what the files say beside it.

Invariant: files are data. A tokenizer class named in a config is never imported, a chat template is never rendered.
"""

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tokenizers import AddedToken, decoders, pre_tokenizers, processors
from tokenizers import Tokenizer as RawTokenizer
from tokenizers.models import BPE

from handful.errors import CheckpointError, NotFoundError
from handful.model.checkpoint import read_json_object

_FIX = "Delete the file and download it again."
_SPECIAL_NAMES = ("bos_token", "eos_token", "unk_token", "pad_token")
_NAMED = (*_SPECIAL_NAMES, "sep_token", "cls_token", "mask_token")


@dataclass(frozen=True, slots=True)
class TokenizerFiles:
    """What a folder says about its tokenizer. `declared` is tokenizer_config.json over special_tokens_map.json."""

    raw: RawTokenizer
    declared: dict[str, Any]
    bos_token_id: int | None
    eos_token_ids: frozenset[int]
    chat_template: str | None


def read_tokenizer_files(folder: Path) -> TokenizerFiles:
    """Read tokenizer.json, or build the same from vocab.json and merges.txt, or have Transformers convert the rest.

    Raises NotFoundError when the folder has no tokenizer, CheckpointError when one of its files is damaged.
    """
    declared = _optional(folder, "special_tokens_map.json") | _optional(folder, "tokenizer_config.json")
    raw = _read_raw(folder, declared)
    raw.no_truncation()
    raw.no_padding()
    configs = [_optional(folder, name) for name in ("generation_config.json", "config.json")]
    return TokenizerFiles(
        raw=raw,
        declared=declared,
        bos_token_id=_bos_token_id(raw, declared, configs),
        eos_token_ids=_eos_token_ids(raw, declared, configs),
        chat_template=_chat_template(folder, declared),
    )


def _read_raw(folder: Path, declared: dict[str, Any]) -> RawTokenizer:
    path = folder / "tokenizer.json"
    if path.is_file():
        try:
            return RawTokenizer.from_file(str(path))
        except Exception as problem:  # noqa: BLE001 - tokenizers raises bare Exception
            raise CheckpointError(f"{path} can't be read: {problem}.", fix=_FIX) from None
    if (folder / "vocab.json").is_file() and (folder / "merges.txt").is_file():
        return _from_vocabulary_and_merges(folder, declared)
    if (folder / "tokenizer.model").is_file():
        return _through_transformers(folder)
    raise NotFoundError(
        f"{folder} holds no tokenizer (tokenizer.json, or vocab.json and merges.txt).",
        fix="Copy the tokenizer's files beside the weights.",
    )


def _from_vocabulary_and_merges(folder: Path, declared: dict[str, Any]) -> RawTokenizer:
    """The byte-level BPE of GPT-2, GPT-Neo and OPT in the two files they were first published with."""
    try:
        raw = RawTokenizer(BPE.from_file(str(folder / "vocab.json"), str(folder / "merges.txt")))
    except Exception as problem:  # noqa: BLE001 - tokenizers raises bare Exception
        raise CheckpointError(f"vocab.json and merges.txt in {folder} can't be read: {problem}.", fix=_FIX) from None
    spaced = declared.get("add_prefix_space") is True
    raw.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=spaced)
    raw.decoder = decoders.ByteLevel()
    names = {content for name in _SPECIAL_NAMES if (content := token_content(declared.get(name))) is not None}
    # Without files that say so, GPT-2's one special token is the end of a text.
    names = names or {"<|endoftext|>"}
    raw.add_special_tokens(
        [AddedToken(name, normalized=False) for name in sorted(names) if raw.token_to_id(name) is not None]
    )
    bos = token_content(declared.get("bos_token"))
    bos_id = raw.token_to_id(bos) if bos else None
    if declared.get("add_bos_token") is True and bos is not None and bos_id is not None:
        raw.post_processor = processors.TemplateProcessing(
            single=[bos, "$A"], pair=None, special_tokens=[(bos, bos_id)]
        )
    return raw


def _through_transformers(folder: Path) -> RawTokenizer:
    """Only a SentencePiece model is there: Transformers knows how to turn it into a tokenizer.json."""
    fix = "Install what converts it: pip install 'handful[transformers]'; or add a tokenizer.json."
    try:
        from transformers import AutoTokenizer

        slow = AutoTokenizer.from_pretrained(str(folder), local_files_only=True, trust_remote_code=False)
        return RawTokenizer.from_str(slow.backend_tokenizer.to_str())
    except ImportError:
        raise CheckpointError(f"{folder} holds only a SentencePiece tokenizer.model.", fix=fix) from None
    except Exception as problem:  # noqa: BLE001 - whatever Transformers says about the file, it can't be used
        line = str(problem).strip().partition("\n")[0]
        raise CheckpointError(f"tokenizer.model in {folder} can't be converted: {line}.", fix=fix) from None


def _optional(folder: Path, name: str) -> dict[str, Any]:
    return read_json_object(folder / name) if (folder / name).is_file() else {}


def token_content(value: object) -> str | None:
    """The text of a special token as configs write it: a string, or an object with `content`."""
    if isinstance(value, dict):
        value = value.get("content")
    return value if isinstance(value, str) else None


def named_tokens(declared: dict[str, Any]) -> dict[str, str]:
    """The special tokens that the files name, as chat templates refer to them."""
    texts = {name: token_content(declared.get(name)) for name in _NAMED}
    return {name: text for name, text in texts.items() if text is not None}


def _ids(value: object, vocab_size: int) -> list[int]:
    """Token ids as configs write them: nothing, a number or a list; ids outside the vocabulary are left out."""
    values = value if isinstance(value, list) else [value]
    return [v for v in values if isinstance(v, int) and not isinstance(v, bool) and 0 <= v < vocab_size]


def _eos_token_ids(raw: RawTokenizer, declared: dict[str, Any], configs: list[dict[str, Any]]) -> frozenset[int]:
    """From generation_config.json, else config.json, else the tokenizer's own end-of-text token."""
    for config in configs:
        if ids := _ids(config.get("eos_token_id"), raw.get_vocab_size()):
            return frozenset(ids)
    content = token_content(declared.get("eos_token"))
    found = raw.token_to_id(content) if content else None
    return frozenset() if found is None else frozenset({found})


def _bos_token_id(raw: RawTokenizer, declared: dict[str, Any], configs: list[dict[str, Any]]) -> int | None:
    """The tokenizer's own beginning-of-text token, else what the model's configs say."""
    content = token_content(declared.get("bos_token"))
    if content and (found := raw.token_to_id(content)) is not None:
        return found
    return next((ids[0] for config in configs if (ids := _ids(config.get("bos_token_id"), raw.get_vocab_size()))), None)


def _chat_template(folder: Path, declared: dict[str, Any]) -> str | None:
    path = folder / "chat_template.jinja"
    if path.is_file() and path.stat().st_size < 1 << 20:
        return path.read_text(encoding="utf-8", errors="replace")
    template = declared.get("chat_template")
    if isinstance(template, list):  # several named templates; the one for plain chats is called `default`
        named = {item.get("name"): item.get("template") for item in template if isinstance(item, dict)}
        template = named.get("default")
    return template if isinstance(template, str) else None


def without_dummy_prefix(raw: RawTokenizer) -> RawTokenizer:
    """A tokenizer that treats a text as the middle of a longer one; `raw` itself where that is no different.

    SentencePiece tokenizers put a space before a text when encoding and take it off when decoding; byte-level ones may
    be told to. This one does neither, so a continuation keeps exactly the spaces it has.
    """
    before = {name: _described(getattr(raw, name)) for name in ("normalizer", "pre_tokenizer", "decoder")}
    if before["decoder"] == {**(before["decoder"] or {}), "type": "ByteLevel"}:
        del before["decoder"]  # its `add_prefix_space` has no effect, and GPT-2's says true
    after = {name: _without_prefix(step) for name, step in before.items()}
    if before == after:
        return raw
    return RawTokenizer.from_str(json.dumps(json.loads(raw.to_str()) | after | {"post_processor": None}))


def _described(step: Any) -> dict[str, Any] | None:
    """One step of a tokenizer as tokenizer.json has it."""
    return None if step is None else json.loads(step.__getstate__())


def _without_prefix(step: dict[str, Any] | None) -> dict[str, Any] | None:
    """The step without whatever adds or takes off a space at a text's start."""
    if step is None or step["type"] in ("Prepend", "Strip"):
        return None
    if step["type"] == "Metaspace":
        return {**step, "prepend_scheme": "never"}
    if step["type"] == "ByteLevel":
        return {**step, "add_prefix_space": False}
    for children in ("normalizers", "pretokenizers", "decoders"):
        if children in step:
            kept = [changed for child in step[children] if (changed := _without_prefix(child)) is not None]
            return {**step, children: kept} if kept else None
    return step

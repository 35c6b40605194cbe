"""From which language to which: every family of translation models is told in its own way."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

from handful.errors import InvalidParameterError
from handful.nlp_types import SeqToSeqOptions
from handful.pipelines.network import Network

_TOKENS = ("m2m_100", "mbart", "nllb-moe")  # families whose languages are tokens of their own
_ALWAYS_NAMED = ("m2m_100", "nllb-moe")  # of these, the ones that don't know where to without being told


@dataclass(frozen=True, slots=True)
class Direction:
    """How a model is told: a prefix of the text, the first token of the answer, or the name of its own settings."""

    prefix: str = ""
    first_token_id: int | None = None
    settings_name: str = ""


def direction(network: Network, options: SeqToSeqOptions, task: str) -> Direction:
    """How the model is told `src_lang` and `tgt_lang`. InvalidParameterError for a language that it doesn't know."""
    config = network.model.config
    if config.model_type in _TOKENS:
        return _by_token(network, options)
    named = _translations(config)
    if named and (task == "translation" or options.src_lang or options.tgt_lang):
        return Direction(settings_name=_by_settings(network, options, named))
    if options.tgt_lang is not None and config.model_type == "marian" and options.src_lang is None:
        mark = f">>{options.tgt_lang}<<"
        if mark in network.tokenizer.get_vocab():
            return Direction(prefix=f"{mark} ")
    for name, value in (("src_lang", options.src_lang), ("tgt_lang", options.tgt_lang)):
        if value is not None:
            raise InvalidParameterError(name, f"is {value!r}, which {network.name} can't choose.", fix="Leave it out.")
    return Direction()


@contextmanager
def source_language(network: Network, options: SeqToSeqOptions) -> Iterator[None]:
    """Have texts marked as of `src_lang` while their tokens are made; other requests keep the model's own."""
    tokenizer, own = network.tokenizer, getattr(network.tokenizer, "src_lang", None)
    if options.src_lang is None or own is None:
        yield
        return
    tokenizer.src_lang = options.src_lang
    try:
        yield
    finally:
        tokenizer.src_lang = own


def own_settings(config: Any, name: str) -> dict[str, Any]:
    """What the model's configuration says for a task: a prefix, lengths, beams; empty where it says nothing."""
    settings = getattr(config, "task_specific_params", None)
    found = settings.get(name) if isinstance(settings, dict) else None
    return dict(found) if isinstance(found, dict) else {}


def _translations(config: Any) -> list[str]:
    """The names of a configuration's settings for translation: `translation_en_to_de`."""
    settings = getattr(config, "task_specific_params", None)
    return [name for name in settings if name.startswith("translation_")] if isinstance(settings, dict) else []


def _by_settings(network: Network, options: SeqToSeqOptions, named: list[str]) -> str:
    if options.src_lang is None and options.tgt_lang is None and len(named) == 1:
        return named[0]
    name = f"translation_{options.src_lang}_to_{options.tgt_lang}"
    if name not in named:
        known = ", ".join(other.removeprefix("translation_").replace("_to_", " to ") for other in named)
        missing = "src_lang" if options.src_lang is None else "tgt_lang"
        raise InvalidParameterError(missing, f"and its counterpart must name what {network.name} knows: {known}.")
    return name


def _by_token(network: Network, options: SeqToSeqOptions) -> Direction:
    if options.src_lang is not None:
        _language_id(network, "src_lang", options.src_lang)
    if options.tgt_lang is not None:
        return Direction(first_token_id=_language_id(network, "tgt_lang", options.tgt_lang))
    if network.model.config.model_type in _ALWAYS_NAMED and "forced_bos_token_id" not in network.settings:
        raise InvalidParameterError("tgt_lang", f"is needed: {network.name} translates into many languages.")
    return Direction()


def _language_id(network: Network, name: str, language: str) -> int:
    """The token of a language."""
    tokenizer = network.tokenizer
    codes = getattr(tokenizer, "lang_code_to_token", None)  # M2M100 writes __fr__ for fr, and counts apart from others
    if language not in (tokenizer.all_special_tokens if codes is None else codes):
        raise InvalidParameterError(name, f"is {language!r}, not a language that {network.name} knows.")
    return int(tokenizer.convert_tokens_to_ids(language) if codes is None else tokenizer.get_lang_id(language))

"""Texts from texts: summaries, translations and whatever else a sequence-to-sequence model was trained for.

Transformers' own `generate` does the search; this module says what it is asked for. Nothing is left to defaults that
cut an answer short without a word: where neither the request nor the model's files set a limit, it is 256 tokens.
"""

import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import torch

from handful.errors import CheckpointError, InvalidParameterError
from handful.nlp_types import MAX_LENGTH_TOKENS, SeqToSeqOptions
from handful.pipelines.batching import length_batches
from handful.pipelines.languages import Direction, direction, own_settings, source_language
from handful.pipelines.network import Cut, Network, Row, check_texts

DEFAULT_NEW_TOKENS = 256
FIX = "Shorten it, or set `truncation` to true."
_DRAWING = ("temperature", "top_k", "top_p", "typical_p")
_ASKED = (
    *("max_new_tokens", "min_length", "max_length", "temperature", "top_k", "top_p"),
    *("repetition_penalty", "num_beams", "max_time"),
)
_IDS = ("bos_token_id", "eos_token_id", "pad_token_id", "decoder_start_token_id")
_OWN = (
    *("max_new_tokens", "min_length", "max_length", "do_sample", *_DRAWING, "repetition_penalty", "num_beams"),
    *("early_stopping", "length_penalty", "no_repeat_ngram_size", "encoder_no_repeat_ngram_size", "bad_words_ids"),
    *("suppress_tokens", "begin_suppress_tokens", "forced_bos_token_id", "forced_eos_token_id"),
    *("renormalize_logits", *_IDS),
)
_one_draws = threading.Lock()  # sampling in Transformers reads the one generator of the process


@torch.inference_mode()
def generate(
    network: Network,
    texts: Sequence[str],
    options: SeqToSeqOptions,
    task: str,
    *,
    cut_side: str = "right",
    fix: str = FIX,
) -> list[str]:
    """See `NlpModel.generate`; `task` is what the model is used for, and its settings for that are taken.

    `cut_side` is where `truncation` cuts, `fix` what to tell the caller of a text that is too long without it.
    """
    check_texts(texts)
    towards = direction(network, options, task)
    settings = own_settings(network.model.config, towards.settings_name or task)
    prefix = towards.prefix or str(settings.pop("prefix", ""))
    cut = Cut(cut_side) if options.truncation else None
    with source_language(network, options):
        rows = network.rows([prefix + text for text in texts], None, cut, fix)
    wanted = search(network, options, settings, towards)
    with drawing(wanted, options.seed, network.device):
        return [text for found in _generated(network, rows, wanted, options) for text in found]


def take_settings(network: Network) -> None:
    """Move the model's own generation settings to the network, where `search` finds them.

    Only those that say how to search are kept: others name code to fetch, or memory to take. Transformers fills what a
    request leaves open from what the model holds, so the model holds nothing.
    """
    from transformers import GenerationConfig

    own, config = network.model.generation_config, network.model.config
    ids = {name: value for name in _IDS if (value := getattr(config, name, None)) is not None}
    network.settings = ids | {name: value for name in _OWN if (value := getattr(own, name, None)) is not None}
    network.model.generation_config = GenerationConfig()


def search(network: Network, options: SeqToSeqOptions, settings: dict[str, Any], towards: Direction) -> Any:
    """Transformers' GenerationConfig: the model's own settings, then those for the task, then what was asked."""
    from transformers import GenerationConfig

    wanted = network.settings | {name: value for name, value in settings.items() if name in _OWN}
    _set_lengths(wanted, options, network)
    samples = _samples(options, bool(wanted.get("do_sample")))
    asked = {name: value for name in _ASKED if (value := getattr(options, name)) is not None}
    if samples:
        wanted = {"top_k": 0} | wanted | {"num_beams": 1}  # top_k unset means all tokens, not Transformers' 50
    else:
        wanted, asked = ({n: v for n, v in found.items() if n not in _DRAWING} for found in (wanted, asked))
    wanted |= asked | {"do_sample": samples, "num_return_sequences": options.num_return_sequences}
    if towards.first_token_id is not None:
        wanted["forced_bos_token_id"] = towards.first_token_id
    _check_number(wanted)
    try:
        return GenerationConfig(**wanted)
    except (ValueError, TypeError) as problem:
        line = str(problem).partition("\n")[0][:200]
        raise CheckpointError(f"The generation settings of {network.name} can't be used: {line}") from None


def _samples(options: SeqToSeqOptions, by_default: bool) -> bool:
    """Whether tokens are drawn: as asked, or because something was asked that only drawing can honour."""
    greedy = options.temperature == 0.0
    if options.do_sample and greedy:
        raise InvalidParameterError("temperature", "is 0, which takes the most probable token, and do_sample is true.")
    asked = {
        name: value
        for name, neutral in (("temperature", 1.0), ("top_k", None), ("top_p", 1.0))
        if (value := getattr(options, name)) is not None and value != neutral and not (name == "temperature" and greedy)
    }
    if asked and (options.do_sample is False or greedy):
        name = next(iter(asked))
        raise InvalidParameterError(name, "shapes how tokens are drawn, and none is drawn here.", fix="Leave it out.")
    if options.do_sample is not None:
        return options.do_sample
    return bool(asked) or (by_default and not greedy)


def _set_lengths(wanted: dict[str, Any], options: SeqToSeqOptions, network: Network) -> None:
    """The limits of the answer; a limit that was asked for replaces those of the model's files."""
    if options.max_length is not None or options.max_new_tokens is not None:
        wanted.pop("max_length", None)
        wanted.pop("max_new_tokens", None)
    elif "max_length" not in wanted:
        wanted.setdefault("max_new_tokens", DEFAULT_NEW_TOKENS)
    limit = options.max_length or options.max_new_tokens or wanted.get("max_new_tokens") or wanted["max_length"]
    if options.min_length is not None and options.min_length > limit:
        raise InvalidParameterError(
            "min_length", f"is {options.min_length}, and the answer has at most {limit} tokens."
        )
    wanted["min_length"] = min(wanted.get("min_length") or 0, limit)
    most = _num_answer_positions(network.model.config)
    for name in ("max_length", "max_new_tokens"):
        if (asked := getattr(options, name)) is not None and asked > most:
            raise InvalidParameterError(
                name, f"must be at most {most}, which is what {network.name} has positions for."
            )
        if name in wanted:
            wanted[name] = min(wanted[name], most)


def _num_answer_positions(config: Any) -> int:
    """The longest answer behind its start token; no limit where positions are relative."""
    keys = ("max_decoder_position_embeddings", "max_position_embeddings")
    lengths = (getattr(config, key, None) for key in keys)
    return next((length - 1 for length in lengths if isinstance(length, int) and length > 1), MAX_LENGTH_TOKENS)


def _check_number(wanted: dict[str, Any]) -> None:
    number, beams = wanted["num_return_sequences"], wanted.get("num_beams") or 1
    if number > 1 and not wanted["do_sample"] and beams < number:
        raise InvalidParameterError(
            "num_return_sequences",
            f"is {number}, and without sampling there are as many answers as beams ({beams}).",
            fix=f"Set do_sample to true, or num_beams to {number}.",
        )


def _generated(network: Network, rows: Sequence[Row], wanted: Any, options: SeqToSeqOptions) -> list[list[str]]:
    """The answers to each row."""
    answers: dict[int, list[str]] = {}
    number = options.num_return_sequences
    for batch in length_batches([len(row) for row in rows]):
        inputs = network.padded([rows[i] for i in batch])
        found = network.model.generate(**inputs, generation_config=wanted)
        texts = network.tokenizer.batch_decode(
            found,
            skip_special_tokens=True,
            clean_up_tokenization_spaces=options.clean_up_tokenization_spaces,
        )
        answers |= {row: texts[place * number : (place + 1) * number] for place, row in enumerate(batch)}
    return [answers[row] for row in range(len(rows))]


@contextmanager
def drawing(wanted: Any, seed: int | None, device: torch.device) -> Iterator[None]:
    """Where tokens are drawn, one draws at a time; with a seed, and the process's generator stays as it was."""
    if not wanted.do_sample:
        yield
        return
    with _one_draws:
        if seed is None:
            yield
            return
        with torch.random.fork_rng(devices=[device] if device.type == "cuda" else []):
            torch.manual_seed(seed)
            yield

"""Tunes the start of a prompt for a loaded model: texts to tokens, and the model's own weights once more to learn on.

The engine computes in the precision that it answers with and keeps nothing to learn by, so tuning reads the checkpoint
anew, through Transformers and on the processor, and lets it go when it is done.
"""

from collections.abc import Sequence

import torch

from handful.errors import InvalidParameterError
from handful.local.model import LocalModel
from handful.model.precision import has_fast_bfloat16
from handful.model.source import ModelFiles
from handful.model.tokenizer import Tokenizer
from handful.pipelines.prefix_tuning import Progress, Row, check_labels, tuned_prefix
from handful.pipelines.pretrained import check_installed, load_pretrained
from handful.types import LabelledPrompt, PrefixTuning, TunedPrefix

Material = tuple[Sequence[str], Sequence[LabelledPrompt], Sequence[str]]
"""The texts that the prefix begins as, what is asked behind it, and the continuations to choose from."""


def tune(model: LocalModel, material: Material, settings: PrefixTuning, advance: Progress | None = None) -> TunedPrefix:
    """See `LocalModel.tuned_prefix`."""
    files = _own_files(model)
    shown, asked, continuations = material
    tokenizer = model.tokenizer
    blocks = [tokenizer.encode_behind(text) for text in shown]
    if tokenizer.num_prefix_tokens:
        blocks[0] = tokenizer.encode(shown[0])
    first = _first_tokens(tokenizer, asked[0].text, continuations)
    rows = [_row(tokenizer, one, continuations) for one in asked]
    network = load_pretrained("AutoModelForCausalLM", files, _dtype(), "a causal language model")
    return tuned_prefix(network, blocks, rows, first, settings, advance)


def check(model: LocalModel, asked: str, continuations: Sequence[str]) -> None:
    """See `LocalModel.check_tunable`."""
    check_installed(_own_files(model))
    check_labels(_first_tokens(model.tokenizer, asked, continuations))


def _first_tokens(tokenizer: Tokenizer, asked: str, continuations: Sequence[str]) -> list[int]:
    return [tokenizer.encode_continuation(asked, one)[1][0] for one in continuations]


def _own_files(model: LocalModel) -> ModelFiles:
    """The checkpoint to tune with. InvalidParameterError for a model that isn't handful's own."""
    if model.files is None:
        problem = f"can't have its prompts tuned: {model.info.name} runs through Transformers."
        raise InvalidParameterError("model", problem, fix="Use one that handful's own decoder runs, or don't tune.")
    return model.files


def _row(tokenizer: Tokenizer, asked: LabelledPrompt, continuations: Sequence[str]) -> Row:
    ids, _ = tokenizer.encode_continuation(asked.text, continuations[asked.label])
    return Row(tuple(ids[tokenizer.num_prefix_tokens :]), asked.label, asked.shown_as)


def _dtype() -> torch.dtype:
    """bfloat16 where the processor multiplies it; in software it would take many times as long as float32."""
    return torch.bfloat16 if has_fast_bfloat16(torch.device("cpu")) else torch.float32

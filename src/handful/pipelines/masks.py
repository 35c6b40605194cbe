"""Words for a gap in a text, from a masked language model."""

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

from handful.errors import CheckpointError, InvalidInputError, InvalidParameterError
from handful.nlp_types import Filled, FillMaskOptions
from handful.pipelines.network import Cut, Inputs, Network, Row

_FIX = "Shorten it, or set `truncation` to true."


def fill_mask(network: Network, texts: Sequence[str], options: FillMaskOptions) -> list[list[Filled]]:
    """See `NlpModel.fill_mask`."""
    rows = network.rows(texts, None, Cut() if options.truncation else None, _FIX)
    for row in rows:
        _check_one_mask(network, row)
    among = None if options.targets is None else [_target_id(network, target) for target in options.targets]
    probabilities = _probabilities(network, rows)
    return [
        _best(network, row.ids, among, found, options.top_k) for row, found in zip(rows, probabilities, strict=True)
    ]


def _check_one_mask(network: Network, row: Row) -> None:
    tokenizer = network.tokenizer
    if tokenizer.mask_token_id is None:
        raise CheckpointError(f"The tokenizer of {network.name} has no mask token.", fix="Take another model.")
    count = row.ids.count(tokenizer.mask_token_id)
    if count != 1:
        found = "no" if count == 0 else str(count)
        raise InvalidInputError(
            f"The input has {found} {tokenizer.mask_token}, the mask of {network.name}; it needs exactly one.",
            fix=f"Write {tokenizer.mask_token} where the word is missing.",
        )


def _target_id(network: Network, target: str) -> int:
    """The one token of a target, written as it would stand in the mask's place."""
    tokenizer = network.tokenizer
    mask = tokenizer.added_tokens_decoder.get(tokenizer.mask_token_id)
    before = " " if getattr(mask, "lstrip", False) else ""  # a mask that takes the space before it stands for it too
    ids: list[int] = tokenizer(before + target.strip(), add_special_tokens=False)["input_ids"]
    if len(ids) != 1 or ids[0] == tokenizer.unk_token_id:
        raise InvalidParameterError("targets", f"holds {target!r}, which is not one token of {network.name}.")
    return ids[0]


def _probabilities(network: Network, rows: Sequence[Row]) -> list[Tensor]:
    """The vocabulary's probabilities `[vocabulary]` at each row's mask."""
    mask_id = network.tokenizer.mask_token_id

    def read(outputs: Any, inputs: Inputs) -> list[Tensor]:
        gaps = (inputs["input_ids"] == mask_id).int().argmax(dim=1)
        logits = outputs.logits[torch.arange(len(gaps), device=gaps.device), gaps]
        return list(torch.softmax(logits.float(), dim=-1).cpu())

    return network.outputs(rows, read)


def _best(network: Network, ids: list[int], among: list[int] | None, found: Tensor, top_k: int) -> list[Filled]:
    """The most probable tokens for the mask in `ids`, of all or of those in `among`."""
    tokenizer = network.tokenizer
    gap = ids.index(tokenizer.mask_token_id)
    candidates = torch.arange(len(found)) if among is None else torch.tensor(sorted(set(among)))
    scores, places = found[candidates].topk(min(top_k, len(candidates)))
    best = []
    for score, token in zip(scores.tolist(), candidates[places].tolist(), strict=True):
        sequence = tokenizer.decode([*ids[:gap], token, *ids[gap + 1 :]], skip_special_tokens=True)
        best.append(Filled(sequence, score, token, tokenizer.decode([token])))
    return best

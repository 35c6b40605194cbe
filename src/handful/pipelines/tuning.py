"""Contrastive tuning of an encoder with a handful of labelled texts, as SetFit does it (arXiv 2209.11055, section 3).

Texts of one class are pulled together and those of different classes apart: the squared error of the cosine of a pair
against 1 or 0. Every step encodes some texts and takes all pairs among them, which costs as much as encoding them once;
pairs of equal and of different classes weigh the same. Embedding tables stay as they are (the few words of a few texts
would move away from all others), and so does dropout's randomness: a seed gives one result on one machine.
"""

import copy
from collections.abc import Callable, Iterator, Sequence

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from handful.pipelines.network import Network
from handful.pipelines.sentences import SentenceFiles, pooled, unit_length
from handful.types import EncoderTuning

Progress = Callable[[int, int], None]  # steps done, of how many
_WARM_UP = 0.1  # share of the steps in which the learning rate rises
_WEIGHT_DECAY = 0.01
_FIX = "Shorten it or leave it out."


def tuned_network(
    network: Network,
    sentences: SentenceFiles,
    labelled: tuple[Sequence[str], NDArray[np.int64]],
    settings: EncoderTuning,
    advance: Progress | None = None,
) -> tuple[Network, dict[str, Tensor]]:
    """A tuned copy, which shares the tables of embeddings with `network`, and the weights that differ, by their names.

    `labelled` are texts and their classes, at least two classes and one class with two texts. Raises InvalidInputError
    and PromptTooLongError for a text that the network doesn't take.
    """
    texts, classes = labelled
    rows = network.rows(texts, None, None, _FIX)
    copied = copy_of(network)
    trained = _trained(copied)
    optimizer = torch.optim.AdamW(trained.values(), lr=settings.learning_rate, weight_decay=_WEIGHT_DECAY)
    for step, batch in enumerate(batches(classes, settings)):
        for group in optimizer.param_groups:
            group["lr"] = settings.learning_rate * _pace(step, settings.num_steps)
        inputs = copied.padded([rows[index] for index in batch])
        states = copied.model(**inputs).last_hidden_state
        vectors = pooled(states, inputs["attention_mask"], sentences.poolings)
        for layer in sentences.steps:
            vectors = layer(vectors)
        loss = contrast(vectors, torch.from_numpy(classes[batch]).to(vectors.device))
        optimizer.zero_grad()
        loss.backward()  # type: ignore[no-untyped-call]
        optimizer.step()
        if advance is not None:
            advance(step + 1, settings.num_steps)
    copied.model.requires_grad_(False)
    changed = {name: weight.detach() for name, weight in trained.items() if weight.grad is not None}
    for weight in trained.values():
        weight.grad = None
    return copied, changed


def contrast(vectors: Tensor, classes: Tensor) -> Tensor:
    """The mean squared error of the cosines of all pairs: half of it from pairs of one class (cosine 1), half from
    pairs of two (cosine 0). vectors `[n, dim]`, classes `[n]`; a batch may lack one of the two kinds."""
    unit = unit_length(vectors)
    cosines = unit @ unit.T
    pairs = torch.ones_like(cosines, dtype=torch.bool).triu(1)
    is_same = classes[:, None] == classes[None]
    parts = [((cosines - wanted) ** 2)[pairs & kind] for kind, wanted in ((is_same, 1.0), (~is_same, 0.0))]
    return torch.stack([part.mean() for part in parts if part.numel()]).mean()


def batches(classes: NDArray[np.int64], settings: EncoderTuning) -> Iterator[list[int]]:
    """Which texts each step reads: as many of each class, two at least; of many classes some, drawn anew each time.

    A class's texts come round in a random order, so all are read equally often. No text is in a batch twice.
    """
    draw = np.random.default_rng(settings.seed)
    labels = np.unique(classes)
    num_labels = min(len(labels), max(2, settings.batch_size // 2))
    num_each = max(2, settings.batch_size // num_labels)
    piles: dict[int, list[int]] = {int(label): [] for label in labels}
    for _ in range(settings.num_steps):
        chosen: list[int] = []
        for label in draw.permutation(labels)[:num_labels].tolist():
            own = np.flatnonzero(classes == label)
            pile = piles[label]
            if len(pile) < min(num_each, len(own)):
                again = draw.permutation(own).tolist()
                pile += [index for index in again if index not in pile]
            chosen += pile[:num_each]
            del pile[:num_each]
        yield chosen


def copy_of(network: Network) -> Network:
    """A network of its own for training: tables of embeddings are shared, everything else is copied."""
    tables = [module.weight for module in network.model.modules() if isinstance(module, torch.nn.Embedding)]
    model = copy.deepcopy(network.model, {id(table): table for table in tables})
    copied = Network(network.name, model, copy.deepcopy(network.tokenizer), network.max_tokens)
    copied.settings = dict(network.settings)
    return copied


def _trained(network: Network) -> dict[str, torch.nn.Parameter]:
    """The weights that are trained, by name: all but tables of embeddings."""
    network.model.requires_grad_(False)
    tables = {id(module.weight) for module in network.model.modules() if isinstance(module, torch.nn.Embedding)}
    found = {name: weight for name, weight in network.model.named_parameters() if id(weight) not in tables}
    for weight in found.values():
        weight.requires_grad_(True)
    return found


def _pace(step: int, num_steps: int) -> float:
    """What part of the learning rate a step takes: it rises over the first tenth, then falls to nothing."""
    return min(1.0, (step + 1) / (_WARM_UP * num_steps + 1)) * (1 - step / num_steps)

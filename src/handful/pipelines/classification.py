"""One label for a text: from a classifier's own labels, or from any labels through natural language inference."""

from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from handful.nlp_types import (
    ClassificationOptions,
    FunctionToApply,
    LabelScore,
    ZeroShotAnswer,
    ZeroShotOptions,
)
from handful.pipelines.network import Cut, Inputs, Network, Row
from handful.pipelines.tasks import entailment_of

_FIX = "Shorten it, or set `truncation` to true."
Scores = NDArray[np.float32]


def text_classification(
    network: Network, texts: Sequence[str], options: ClassificationOptions
) -> list[list[LabelScore]]:
    """See `NlpModel.text_classification`."""
    rows = network.rows(texts, None, Cut() if options.truncation else None, _FIX)
    config = network.model.config
    function = options.function_to_apply or own_function(config)
    labels = [str(config.id2label[index]) for index in range(config.num_labels)]
    return [_ranked(labels, apply(function, logits), options.top_k) for logits in _logits(network, rows)]


def zero_shot(network: Network, texts: Sequence[str], options: ZeroShotOptions) -> list[ZeroShotAnswer]:
    """See `NlpModel.zero_shot`: each label's hypothesis is judged against the text, all pairs in one batch."""
    labels = options.candidate_labels
    hypotheses = [options.hypothesis_template.replace("{}", label) for label in labels]
    cut = Cut(part="only_first") if options.truncation else None
    firsts = [text for text in texts for _ in hypotheses]
    rows = network.rows(firsts, hypotheses * len(texts), cut, _FIX)
    logits = np.stack(_logits(network, rows)).reshape(len(texts), len(labels), -1)
    answers = []
    for text, judged in zip(texts, logits, strict=True):
        scores = _entailment_scores(judged, network.model.config, by_itself=options.multi_label or len(labels) == 1)
        ranked = _ranked(labels, scores, None)
        answers.append(ZeroShotAnswer(text, tuple(r.label for r in ranked), tuple(r.score for r in ranked)))
    return answers


def own_function(config: Any) -> FunctionToApply:
    """What a classifier's files say its outputs are."""
    kind = getattr(config, "problem_type", None)
    if kind == "regression":
        return "none"
    if kind == "multi_label_classification":
        return "sigmoid"
    return "sigmoid" if config.num_labels == 1 else "softmax"


def apply(function: FunctionToApply, logits: Scores) -> Scores:
    """`[..., labels]` -> `[..., labels]`."""
    if function == "none":
        return logits
    values = torch.from_numpy(logits)
    applied = torch.sigmoid(values) if function == "sigmoid" else torch.softmax(values, dim=-1)
    scores: Scores = applied.numpy()
    return scores


def _logits(network: Network, rows: Sequence[Row]) -> list[Scores]:
    """The classifier's outputs `[labels]` of each row."""

    def read(outputs: Any, _inputs: Inputs) -> list[Scores]:
        return list(outputs.logits.float().cpu().numpy())

    return network.outputs(rows, read)


def _entailment_scores(logits: Scores, config: Any, *, by_itself: bool) -> Scores:
    """`[labels, 2 or 3]` -> `[labels]`: entailment against contradiction for each label, or among the labels."""
    entailment = entailment_of({"label2id": config.label2id})
    entailment = len(logits[0]) - 1 if entailment is None else entailment
    if not by_itself:
        return apply("softmax", logits[:, entailment])
    contradiction = _contradiction(config, entailment)
    return apply("softmax", logits[:, [contradiction, entailment]])[:, 1]


def _contradiction(config: Any, entailment: int) -> int:
    """The label that says the opposite; by custom the first or the last where none is called so."""
    named = [index for label, index in config.label2id.items() if str(label).lower().startswith("contra")]
    return int(named[0]) if named else (-1 if entailment == 0 else 0)


def _ranked(labels: Sequence[str], scores: Scores, top_k: int | None) -> list[LabelScore]:
    order = np.argsort(-scores, kind="stable")[:top_k]
    return [LabelScore(labels[index], float(scores[index])) for index in order]

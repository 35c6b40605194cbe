"""Vectors of texts: one for each token of a plain encoder, one for a whole text from a sentence-transformers model."""

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from handful.errors import InvalidParameterError
from handful.nlp_types import FeatureOptions
from handful.pipelines.network import Cut, Inputs, Network, check_texts
from handful.pipelines.sentences import SentenceFiles, pooled, unit_length

_FIX = "Shorten it, or set `truncate` to true."
Vectors = NDArray[np.float32]


def features(
    network: Network, sentences: SentenceFiles | None, texts: Sequence[str], options: FeatureOptions
) -> list[Vectors]:
    """See `NlpModel.feature_extraction`; `sentences` is None for a plain encoder."""
    check_texts(texts)
    if sentences is None:
        return _token_vectors(network, texts, options)
    files = sentences
    prompt = _prompt(network, files, options.prompt_name)
    rows = network.rows([prompt + text for text in texts], None, _cut(options), _FIX)

    def read(outputs: Any, inputs: Inputs) -> list[Vectors]:
        vectors = pooled(outputs.last_hidden_state.float(), inputs["attention_mask"], files.poolings)
        for step in files.steps if options.normalize is not False else (s for s in files.steps if s is not unit_length):
            vectors = step(vectors)
        vectors = unit_length(vectors) if options.normalize else vectors
        return list(vectors.cpu().numpy())

    return network.outputs(rows, read)


def similarity(network: Network, sentences: SentenceFiles, source: str, others: Sequence[str]) -> list[float]:
    """See `NlpModel.sentence_similarity`."""
    check_texts(others)
    vectors = np.stack(features(network, sentences, [source, *others], FeatureOptions(normalize=True)))
    return [float(cosine) for cosine in vectors[1:] @ vectors[0]]


def _token_vectors(network: Network, texts: Sequence[str], options: FeatureOptions) -> list[Vectors]:
    if options.prompt_name is not None:
        raise InvalidParameterError("prompt_name", f"names a prompt, and {network.name} has none.")
    rows = network.rows(texts, None, _cut(options), _FIX)

    def read(outputs: Any, inputs: Inputs) -> list[Vectors]:
        states = outputs.last_hidden_state.float()
        states = unit_length(states) if options.normalize else states
        used = inputs["attention_mask"].bool()
        return [states[row][used[row]].cpu().numpy() for row in range(len(states))]

    return network.outputs(rows, read)


def _cut(options: FeatureOptions) -> Cut | None:
    return Cut(options.truncation_direction) if options.truncate else None


def _prompt(network: Network, files: SentenceFiles, name: str | None) -> str:
    """The text that the model's files put in front under that name, or by themselves."""
    name = files.default_prompt if name is None else name
    if name is None:
        return ""
    if name not in files.prompts:
        known = f"it has: {', '.join(sorted(files.prompts))}" if files.prompts else "it has none"
        raise InvalidParameterError("prompt_name", f"is {name!r}, which is not a prompt of {network.name}; {known}.")
    return files.prompts[name]

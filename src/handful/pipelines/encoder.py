"""Texts to vectors in bulk, for whoever builds on representations: heads, selection of examples, search."""

import threading
from collections.abc import Sequence
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from handful.errors import CheckpointError
from handful.model.source import ModelFiles
from handful.nlp_types import FeatureOptions
from handful.pipelines.load import load_network
from handful.types import Device


class Encoder:
    """A loaded sentence-transformers model. Safe to call from several threads: calls take turns."""

    def __init__(self, files: ModelFiles, device: Device = "auto") -> None:
        """Load the model of `files`. Raises NotFoundError, CheckpointError where it has no one vector for a text."""
        network, sentences = load_network(files, device, "sentence-similarity")
        if sentences is None:
            raise CheckpointError(
                f"{files.name} gives a vector for each token and none for a text.",
                fix="Take a sentence-transformers model; `default-embeddings` is the embedded one.",
            )
        self.name, self.revision = files.name, files.revision
        self._network, self._sentences = network, sentences
        self._turn = threading.Lock()

    @cached_property
    def dim(self) -> int:
        """How many numbers a vector has."""
        return int(self.embed(["a"]).shape[1])

    @property
    def max_tokens(self) -> int:
        """The longest text it takes, in its own tokens with the special ones."""
        return self._network.max_tokens

    def embed(self, texts: Sequence[str], *, truncate: bool = False) -> NDArray[np.float32]:
        """The texts' vectors `[n, dim]`, as the model's files say (mostly of length 1).

        A text longer than `max_tokens` raises PromptTooLongError, or is cut at its end with `truncate`. An empty one
        raises InvalidInputError.
        """
        from handful.pipelines.embedding import features

        if not texts:
            return np.zeros((0, self.dim), dtype=np.float32)
        with self._turn:
            return np.stack(features(self._network, self._sentences, texts, FeatureOptions(truncate=truncate)))

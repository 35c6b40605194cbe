"""Texts to vectors in bulk, for whoever builds on representations: heads, selection of examples, search."""

import copy
import threading
from collections.abc import Callable, Mapping, Sequence
from functools import cached_property
from typing import TYPE_CHECKING, Self

import numpy as np
from numpy.typing import NDArray

from handful.errors import CheckpointError, InvalidInputError
from handful.model.source import ModelFiles
from handful.nlp_types import FeatureOptions
from handful.pipelines.load import load_network
from handful.types import Device, EncoderTuning

if TYPE_CHECKING:  # imports torch, which takes seconds
    from handful.pipelines.network import Network

Weights = Mapping[str, NDArray[np.float32]]


class Encoder:
    """A loaded sentence-transformers model. Safe to call from several threads: calls take turns.

    `weights` are those that were tuned, by their names; none where it is as its files say.
    """

    def __init__(self, files: ModelFiles, device: Device = "auto") -> None:
        """Load the model of `files`. Raises NotFoundError, CheckpointError where it has no one vector for a text."""
        network, sentences = load_network(files, device, "sentence-similarity")
        if sentences is None:
            raise CheckpointError(
                f"{files.name} gives a vector for each token and none for a text.",
                fix="Take a sentence-transformers model; `default-embeddings` is the embedded one.",
            )
        self.name, self.revision = files.name, files.revision
        self.weights: Weights = {}
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

    def tuned(
        self,
        texts: Sequence[str],
        classes: NDArray[np.int64],
        settings: EncoderTuning | None = None,
        advance: Callable[[int, int], None] | None = None,
    ) -> Self:
        """Another encoder, tuned so that texts of one class are alike (see tuning.py); this one stays as it is.

        `advance` is told the steps done, and of how many. On a processor a step takes about as long as three times
        encoding its texts. Raises InvalidInputError for fewer than two classes or no class with two texts, and for an
        empty text; PromptTooLongError.
        """
        from handful.pipelines.tuning import tuned_network

        counts = np.bincount(classes)
        if len(texts) != len(classes) or (counts > 0).sum() < 2 or counts.max() < 2:
            raise InvalidInputError(
                "Tuning an encoder takes two classes at least, and two texts of one of them.", fix="Give more examples."
            )
        used = settings or EncoderTuning()
        with self._turn:
            network, changed = tuned_network(self._network, self._sentences, (texts, classes), used, advance)
        return self._with(network, {name: weight.cpu().numpy() for name, weight in changed.items()})

    def with_weights(self, weights: Weights) -> Self:
        """Another encoder with the `weights` that tuning gave; this one stays as it is.

        Raises CheckpointError for weights of another model: a name that it lacks or a shape that differs.
        """
        import torch

        from handful.pipelines.tuning import copy_of

        with self._turn:
            network = copy_of(self._network)
        own = dict(network.model.named_parameters())
        for name, weight in weights.items():
            if name not in own or tuple(own[name].shape) != weight.shape:
                raise CheckpointError(f"The tuned weights are not those of {self.name}: {name!r} doesn't fit.")
            own[name].data.copy_(torch.from_numpy(weight))
        return self._with(network, weights)

    def _with(self, network: "Network", weights: Weights) -> Self:
        made = copy.copy(self)
        made.weights, made._network, made._turn = weights, network, threading.Lock()
        return made

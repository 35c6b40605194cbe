"""An encoder without weights, for tests: character n-grams, with a name."""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from handful.learn.ngrams import Ngrams


class NamedNgrams:
    """A `NamedEncoder`."""

    def __init__(self, name: str = "ngrams", dim: int = 64) -> None:
        self.name, self.revision, self.dim = name, "", dim

    def embed(self, texts: Sequence[str]) -> NDArray[np.float32]:
        """`[len(texts), dim]`."""
        return Ngrams(num_features=self.dim).embed(texts)

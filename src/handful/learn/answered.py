"""What was answered for a text stays its answer.

A model rounds its numbers a little differently when a part of a text is in its cache already: by up to a hundredth of a
probability in bfloat16 and int8. Between `predict_proba` and `predict` of the same texts that is enough to name another
class where two are nearly tied. So a classifier asks once for a text, and remembers.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

import numpy as np

from handful.learn.probability import Matrix, Vector

_MOST = 16_384


@dataclass(slots=True)
class Answered:
    """Rows of probabilities by text: those of the last call, and of up to `most` texts before it."""

    most: int = _MOST
    _rows: dict[str, Vector] = field(default_factory=dict)

    def rows(self, texts: Sequence[str], ask: Callable[[list[str]], Matrix]) -> Matrix:
        """`[n, classes]`; `ask` gets the texts that weren't answered yet, each once. Raises what it raises."""
        if not texts:
            return ask([])
        known = {text: row for text in texts if (row := self._rows.get(text)) is not None}
        if new := [text for text in dict.fromkeys(texts) if text not in known]:
            known |= zip(new, ask(new), strict=True)
            if len(self._rows) > self.most:
                self._rows = {}
            self._rows |= known
        return np.stack([known[text] for text in texts])

"""A closed set of continuations as a trie of tokens: every label's log-probability from one forward pass.

The last prompt token and the inner nodes of the trie are run; a label's last token never is, since its probability is
read from the row before it. Row 0 is the last prompt token, row i the i-th inner node. A node sees the context and its
own ancestors, nothing else (an ancestor mask), and stands at the position its depth gives it, so each label gets
exactly the log-probability it would have alone.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray


@dataclass(frozen=True, slots=True)
class LabelTrie:
    """The trie of some continuations.

    tokens      the inner nodes' tokens, parents before children
    depths      for each inner node its distance from the last prompt token, 1 for a first token
    visible     `[rows, rows]` bool: row i attends to row j (the last prompt token is row 0)
    reads       for each continuation the (row, token) pairs whose log-probabilities add up to its own
    """

    tokens: tuple[int, ...]
    depths: tuple[int, ...]
    visible: NDArray[np.bool_]
    reads: tuple[tuple[tuple[int, int], ...], ...]

    @classmethod
    def build(cls, continuations: Sequence[Sequence[int]]) -> "LabelTrie":
        """The trie of token sequences, none of them empty (ValueError); equal ones are fine."""
        rows: dict[tuple[int, ...], int] = {(): 0}
        parents: list[int] = []
        reads = []
        for continuation in map(tuple, continuations):
            if not continuation:
                raise ValueError("a continuation without tokens has no probability")
            for length in range(1, len(continuation)):
                path = continuation[:length]
                if path not in rows:
                    rows[path] = len(rows)
                    parents.append(rows[path[:-1]])
            reads.append(tuple((rows[continuation[:i]], token) for i, token in enumerate(continuation)))
        paths = list(rows)[1:]
        visible = np.eye(len(rows), dtype=np.bool_)
        for row, parent in enumerate(parents, start=1):
            visible[row] |= visible[parent]
        return cls(tuple(path[-1] for path in paths), tuple(map(len, paths)), visible, tuple(reads))

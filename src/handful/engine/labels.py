"""A closed set of continuations as a trie of tokens: every label's log-probability from one forward pass.

The last prompt token and the inner nodes of the trie are run; a label's last token never is, since its probability is
read from the row before it. Row 0 is the last prompt token, row i the i-th inner node. A node sees the context and its
own ancestors, nothing else (an ancestor mask), and stands at the position its depth gives it, so each label gets
exactly the log-probability it would have alone.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import chain

import numpy as np
from numpy.typing import NDArray


@dataclass(frozen=True, slots=True)
class LabelTrie:
    """The trie of some continuations. Row 0 is the last prompt token, row i the i-th inner node.

    tokens      the inner nodes' tokens, parents before children
    depths      for each inner node its distance from the last prompt token, 1 for a first token
    parents     `[rows]`: each row's parent, -1 for row 0
    reads       for each continuation the (row, token) pairs whose log-probabilities add up to its own
    asked       for each row the tokens whose log-probability is read from it
    """

    tokens: tuple[int, ...]
    depths: tuple[int, ...]
    parents: NDArray[np.int64]
    reads: tuple[tuple[tuple[int, int], ...], ...]
    asked: tuple[tuple[int, ...], ...]

    @classmethod
    def build(cls, continuations: Sequence[Sequence[int]]) -> "LabelTrie":
        """The trie of token sequences, none of them empty (ValueError); equal ones are fine."""
        children: dict[tuple[int, int], int] = {}  # of a row and a token
        parents = [-1]
        reads = []
        for continuation in continuations:
            if not continuation:
                raise ValueError("a continuation without tokens has no probability")
            row, pairs = 0, []
            for token in continuation:
                pairs.append((row, token))
                if len(pairs) == len(continuation):
                    break
                if (row, token) not in children:
                    children[row, token] = len(parents)
                    parents.append(row)
                row = children[row, token]
            reads.append(tuple(pairs))
        asked: list[dict[int, None]] = [{} for _ in parents]
        for row, token in chain.from_iterable(reads):
            asked[row][token] = None
        depths = [0]
        for parent in parents[1:]:
            depths.append(depths[parent] + 1)
        tokens = tuple(token for _, token in children)
        return cls(tokens, tuple(depths[1:]), np.array(parents), tuple(reads), tuple(map(tuple, asked)))

    def ancestors(self, row: int) -> list[int]:
        """The inner nodes that a row sees, itself the last of them."""
        found = []
        while row > 0:
            found.append(row)
            row = int(self.parents[row])
        return found[::-1]

    def visible(self, rows: NDArray[np.int64], first: int, end: int) -> NDArray[np.bool_]:
        """Which of the rows `[first, end)` each of `rows` `[N]`, none of them behind these, attends to.

        `[N, end - first]`: its ancestors, the last prompt token among them, and itself.
        """
        seen = np.zeros((len(rows), end), dtype=np.bool_)
        which, at = np.arange(len(rows)), rows
        while len(which):
            seen[which, at] = True
            at = self.parents[at]
            which, at = which[at >= 0], at[at >= 0]
        return seen[:, first:]

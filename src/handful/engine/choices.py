"""A closed set of texts that a generation is to end as one of: which tokens may come next, and where one must.

    choices   "yes", "no", "no idea"      tokens   yes | no | no, idea
    trie      root -- yes*
                 \\--- no* -- idea*       * a choice ends here

Where only one token may come it is taken without asking the model: its keys and values are computed in the step that
the next open question needs, and after the last question none is needed at all.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field


@dataclass(slots=True)
class _Node:
    children: "dict[int, _Node]" = field(default_factory=dict)
    is_end: bool = False


class Choices:
    """The trie of the choices' tokens. A token behind a choice that others go on from is the end of the text."""

    def __init__(self, choices: Sequence[Sequence[int]]) -> None:
        self._root = _Node()
        for tokens in choices:
            node = self._root
            for token in tokens:
                node = node.children.setdefault(token, _Node())
            node.is_end = True

    @property
    def needs_end(self) -> bool:
        """Whether one choice begins another, so that the model must be able to say that the text is over."""
        pending = [self._root]
        while pending:
            node = pending.pop()
            if node.is_end and node.children:
                return True
            pending += node.children.values()
        return False

    def allowed(self, output: Sequence[int], eos: Sequence[int]) -> list[int]:
        """The tokens that may come behind `output`; `eos` are those that end a text."""
        node = self._at(output)
        return [*node.children, *(eos if node.is_end else ())]

    def forced(self, output: Sequence[int]) -> tuple[int, ...]:
        """The tokens that must come behind `output`, up to where there is a choice again."""
        node, found = self._at(output), []
        while len(node.children) == 1 and not node.is_end:
            ((token, node),) = node.children.items()
            found.append(token)
        return tuple(found)

    def is_over(self, output: Sequence[int]) -> bool:
        """Whether `output` is a choice that no other goes on from."""
        return not self._at(output).children

    def _at(self, output: Sequence[int]) -> _Node:
        node = self._root
        for token in output:
            node = node.children[token]
        return node

"""Shared KV segments: what has been (or is being) computed, stored once, for whoever needs it. No tensors.

A `Segment` is a run of tokens whose keys and values lie contiguously in the arena. A context is a path from the root.
A request holds a `Lease`: the path of its context, plus a private tail that nobody shares.

    context of a request   [ segment ][ segment ][ leaf segment ][ tail .......... ]
                             shared, in the tree                   private, not in it
    owned by                 the tree (freed by eviction)          the lease (freed by `release`)

The tree holds a segment from the moment somebody needs it, before it is computed: `num_computed` says how far it is,
and `writer` who computes it. So many requests that arrive together compute a new prefix once, too.
A salt keeps callers apart: a segment belongs to one of them, or is public, and a context reads public segments and then
those of its own salt, never another's. So what a caller finds in the cache tells nothing of what others have sent.

    root -- public prefix of a task --+-- what one caller sent behind it
         |                            +-- what another sent, stored on its own even where the tokens are the same
         +-- what one caller sent otherwise

Here are the words; segment_tree.py is the tree, segment_integrity.py what always holds of it.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Protocol

Salt = str | None
"""Whose segments: a caller's ("" is nobody in particular), or everybody's."""
PUBLIC: Salt = None


@dataclass(slots=True, weakref_slot=True, eq=False)
class Segment:
    """A run of tokens at positions `[position, position + len(tokens))`, kept in slots `[start, ...)`.

    `children` are found by their salt and their first token.
    """

    tokens: tuple[int, ...]
    position: int
    start: int
    parent: "Segment | None"
    salt: Salt = PUBLIC
    children: "dict[tuple[Salt, int], Segment]" = field(default_factory=dict)
    num_computed: int = 0
    num_users: int = 0
    writer: int | None = None
    last_used: int = 0

    @property
    def key(self) -> tuple[Salt, int]:
        """Under which its parent finds it."""
        return self.salt, self.tokens[0]

    @property
    def end(self) -> int:
        """The position behind the last token."""
        return self.position + len(self.tokens)

    @property
    def is_complete(self) -> bool:
        """Whether every token's keys and values have been computed."""
        return self.num_computed == len(self.tokens)

    @property
    def is_shared(self) -> bool:
        """Whether more than one context that is known goes through it."""
        return self.num_users > 1 or len(self.children) > 1

    def path(self) -> "list[Segment]":
        """The segments from the first one of the context to this one (the empty root is left out)."""
        found: list[Segment] = []
        node: Segment | None = self
        while node is not None and node.parent is not None:
            found.append(node)
            node = node.parent
        found.reverse()
        return found


@dataclass(slots=True, eq=False)
class Lease:
    """A request's hold on its context: the path that ends at `leaf`, and `tail_capacity` private slots."""

    leaf: Segment
    tail_start: int
    tail_capacity: int
    num_cached_tokens: int

    @property
    def is_complete(self) -> bool:
        """Whether the whole shared part is computed."""
        return all(segment.is_complete for segment in self.path())

    def path(self) -> list[Segment]:
        """The shared part of the context, first segment first."""
        return self.leaf.path()


class SegmentCache(Protocol):
    """What the scheduler needs of a KV cache; `SegmentTree` shares, `NaiveCache` (the oracle in tests) does not."""

    def acquire(
        self, tokens: Sequence[int], tail_capacity: int, *, share: bool = True, salt: Salt = "", stays: bool = False
    ) -> Lease | None:
        """Hold a context. Unknown tokens become a new, uncomputed segment. None when memory can't be found now.

        What is read is public or of this salt, and a new segment is of this salt. Evicts unused segments, least
        recently used first, leaves first, as far as needed. With `share=False` nothing is read from the cache and
        nothing is left in it. What `stays` for long lies behind everything else, so that the rest stays in one piece.
        """
        ...

    def release(self, lease: Lease, writer: int) -> None:
        """Let go of a context; `writer` no longer computes anything. Uncomputed tokens nobody waits for are dropped."""
        ...

    def clear(self) -> None:
        """Forget everything that no lease holds."""
        ...

    def check_integrity(self, leases: Sequence[Lease]) -> None:
        """Recount ownership of every slot against the leases in force; RuntimeError when something is wrong."""
        ...

    @property
    def num_free_slots(self) -> int:
        """Slots that are free at once."""
        ...

    @property
    def num_evictable_slots(self) -> int:
        """Slots that eviction could free."""
        ...

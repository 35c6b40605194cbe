"""The tree of shared KV segments: what has been (or is being) computed, stored once, for whoever needs it. No tensors.

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

Invariants (`check_integrity`): every slot is free, or a segment's, or a lease's tail, and only one of these;
`num_users` of a segment is the number of leases whose path holds it; a child starts at the position where its parent
ends and is computed only as far as its parent is complete; children of one salt differ in their first token; the
parent of a segment is public or of the same salt.
"""

import heapq
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import Protocol

from handful.engine.arena import Arena

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
        self, tokens: Sequence[int], tail_capacity: int, *, share: bool = True, salt: Salt = ""
    ) -> Lease | None:
        """Hold a context. Unknown tokens become a new, uncomputed segment. None when memory can't be found now.

        What is read is public or of this salt, and a new segment is of this salt. Evicts unused segments, least
        recently used first, leaves first, as far as needed. With `share=False` nothing is read from the cache and
        nothing is left in it.
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


def _num_common(a: Sequence[int], b: Sequence[int]) -> int:
    """Length of the common prefix: whole slices are compared (fast), halved until the difference is found."""
    low, high = 0, min(len(a), len(b))
    if a[:high] == b[:high]:
        return high
    while high - low > 1:
        middle = (low + high) // 2
        if a[low:middle] == b[low:middle]:
            low = middle
        else:
            high = middle
    return low


def _follow(node: Segment, tokens: tuple[int, ...], salt: Salt) -> tuple[Segment, int]:
    """Where the way of `tokens` from `node` down the segments of a salt ends, and how many tokens of that one match."""
    while node.end < len(tokens):
        child = node.children.get((salt, tokens[node.end]))
        if child is None:
            break
        matched = _num_common(child.tokens, tokens[node.end : child.end])
        if matched < len(child.tokens):
            return child, matched
        node = child
    return node, len(node.tokens)


class SegmentTree:
    """A radix tree over tokens whose nodes are segments. See the module's docstring for the invariants."""

    def __init__(self, arena: Arena) -> None:
        self.arena = arena
        self.root = Segment((), 0, 0, None)
        self._private_roots: set[Segment] = set()
        self._clock = 0
        self._idle: list[tuple[int, int, Segment]] = []  # a heap of candidates for eviction; stale entries are skipped

    @property
    def num_free_slots(self) -> int:
        """Slots that are free at once."""
        return self.arena.num_free

    @property
    def num_evictable_slots(self) -> int:
        """Slots of segments that no lease holds."""
        return sum(len(node.tokens) for node in self._nodes(self.root) if node.num_users == 0)

    def acquire(
        self, tokens: Sequence[int], tail_capacity: int, *, share: bool = True, salt: Salt = ""
    ) -> Lease | None:
        """See `SegmentCache.acquire`."""
        wanted = tuple(tokens)
        self._clock += 1
        root = self.root if share else Segment((), 0, 0, None)
        node = self._descend(root, wanted, salt)
        self._lock(node)
        missing = len(wanted) - node.end
        start = self._reserve(missing + tail_capacity)
        if start is None:
            self._unlock(node)
            return None
        if not share:
            self._private_roots.add(root)
        cached = sum(segment.num_computed for segment in node.path())
        if missing:
            leaf = Segment(wanted[node.end :], node.end, start, node, salt, num_users=1, last_used=self._clock)
            node.children[leaf.key] = leaf
            node = leaf
        return Lease(node, start + missing, tail_capacity, cached)

    def release(self, lease: Lease, writer: int) -> None:
        """See `SegmentCache.release`."""
        self.arena.free(lease.tail_start, lease.tail_capacity)
        self._clock += 1
        for segment in lease.path():
            if segment.writer == writer:
                segment.writer = None
        root = self._unlock(lease.leaf)
        if root in self._private_roots:
            self._private_roots.remove(root)
            for node in list(self._nodes(root)):
                self.arena.free(node.start, len(node.tokens))
                node.parent = None  # so that its entry in the heap is stale
        else:
            self._drop_uncomputed(lease.leaf)

    def clear(self) -> None:
        """See `SegmentCache.clear`."""
        while self._evict_one():
            pass

    def check_integrity(self, leases: Sequence[Lease]) -> None:
        """See `SegmentCache.check_integrity`."""
        owned = self.arena.extents()
        owned += [(lease.tail_start, lease.tail_capacity) for lease in leases if lease.tail_capacity]
        users: dict[int, int] = {}
        for lease in leases:
            for segment in lease.path():
                users[id(segment)] = users.get(id(segment), 0) + 1
        for root in (self.root, *self._private_roots):
            for node in self._nodes(root):
                owned.append((node.start, len(node.tokens)))
                _check_node(node, users.get(id(node), 0))
        end = 0
        for start, length in sorted(owned):
            if start != end:
                raise RuntimeError(f"slots {min(start, end)}..{max(start, end)} have no owner or two")
            end = start + length
        if end != self.arena.capacity:
            raise RuntimeError(f"slots from {end} on have no owner")

    def _descend(self, root: Segment, tokens: tuple[int, ...], salt: Salt) -> Segment:
        """The deepest node of `tokens`' path; a segment that matches in part is split where it stops matching.

        A path leaves the public segments wherever it gets furthest by those of its own salt.
        """
        public = _follow(root, tokens, PUBLIC)
        ways = [public]
        if salt is not PUBLIC:
            end, matched = public
            read = end if matched == len(end.tokens) else end.parent or root
            ways += [_follow(node, tokens, salt) for node in (*reversed(read.path()), root)]
        node, matched = max(ways, key=lambda way: way[0].position + way[1])
        return node if matched == len(node.tokens) else self._split(node, matched)

    def _split(self, back: Segment, length: int) -> Segment:
        """Cut off the first `length` tokens of a segment as its new parent; leases that end in it still do."""
        if back.parent is None:
            raise RuntimeError("the root has no tokens to split")
        front = Segment(
            back.tokens[:length],
            back.position,
            back.start,
            back.parent,
            back.salt,
            num_computed=min(back.num_computed, length),
            num_users=back.num_users,
            writer=back.writer,
            last_used=back.last_used,
        )
        back.parent.children[front.key] = front
        back.tokens = back.tokens[length:]
        back.position += length
        back.start += length
        back.num_computed -= front.num_computed
        back.parent = front
        front.children[back.key] = back
        return front

    def _lock(self, node: Segment) -> None:
        for segment in node.path():
            segment.num_users += 1
            segment.last_used = self._clock

    def _unlock(self, node: Segment) -> Segment:
        """Undo `_lock`; returns the root of the path."""
        walk = node
        while walk.parent is not None:
            walk.num_users -= 1
            walk.last_used = self._clock
            if walk.num_users == 0:
                self._offer(walk)
            walk = walk.parent
        return walk

    def _offer(self, segment: Segment) -> None:
        if not segment.children:
            heapq.heappush(self._idle, (segment.last_used, id(segment), segment))

    def _drop_uncomputed(self, leaf: Segment) -> None:
        """After a request left: give back what it had not computed and nobody else waits for."""
        node = leaf
        while node.parent is not None and node.num_users == 0 and not node.children and not node.is_complete:
            parent = node.parent
            if node.num_computed == 0:
                self._remove(node)
            else:
                self.arena.free(node.start + node.num_computed, len(node.tokens) - node.num_computed)
                node.tokens = node.tokens[: node.num_computed]
                self._offer(node)
            node = parent

    def _reserve(self, length: int) -> int | None:
        if length > self.arena.capacity:
            return None
        start = self.arena.allocate(length)
        while start is None and self._evict_one():
            start = self.arena.allocate(length)
        return start

    def _evict_one(self) -> bool:
        while self._idle:
            last_used, _, segment = heapq.heappop(self._idle)
            is_stale = segment.parent is None or segment.num_users or segment.children
            if is_stale or segment.last_used != last_used:
                continue
            self._remove(segment)
            return True
        return False

    def _remove(self, segment: Segment) -> None:
        parent = segment.parent
        if parent is None:
            raise RuntimeError("the root can't be removed")
        del parent.children[segment.key]
        self.arena.free(segment.start, len(segment.tokens))
        segment.parent = None
        if parent.parent is not None and parent.num_users == 0:
            self._offer(parent)

    def _nodes(self, root: Segment) -> Iterator[Segment]:
        pending = list(root.children.values())
        while pending:
            node = pending.pop()
            pending.extend(node.children.values())
            yield node


def _check_node(node: Segment, num_users: int) -> None:
    parent = node.parent
    if not node.tokens or parent is None:
        raise RuntimeError("a segment is empty or cut off from the tree")
    if parent.children.get(node.key) is not node or node.position != parent.end:
        raise RuntimeError(f"the segment at position {node.position} is not where its parent says")
    if parent.salt not in (PUBLIC, node.salt):
        raise RuntimeError("a segment lies behind another caller's")
    if node.num_users != num_users:
        raise RuntimeError(f"a segment counts {node.num_users} users, {num_users} leases hold it")
    if not 0 <= node.num_computed <= len(node.tokens):
        raise RuntimeError(f"{node.num_computed} of {len(node.tokens)} tokens are computed")
    if node.num_computed and not parent.is_complete:
        raise RuntimeError("a segment is computed before its parent")


class NaiveCache:
    """No sharing: each context is stored whole for its own request. The oracle and the off switch of `SegmentTree`."""

    def __init__(self, arena: Arena) -> None:
        self.arena = arena

    @property
    def num_free_slots(self) -> int:
        """Slots that are free at once."""
        return self.arena.num_free

    @property
    def num_evictable_slots(self) -> int:
        """Nothing is kept, so nothing can be evicted."""
        return 0

    def acquire(
        self,
        tokens: Sequence[int],
        tail_capacity: int,
        *,
        share: bool = True,  # noqa: ARG002
        salt: Salt = "",  # noqa: ARG002
    ) -> Lease | None:
        """See `SegmentCache.acquire`; nothing is ever shared."""
        start = self.arena.allocate(len(tokens) + tail_capacity)
        if start is None:
            return None
        root = Segment((), 0, 0, None)
        leaf = Segment(tuple(tokens), 0, start, root, num_users=1) if tokens else root
        return Lease(leaf, start + len(tokens), tail_capacity, 0)

    def release(self, lease: Lease, writer: int) -> None:  # noqa: ARG002
        """See `SegmentCache.release`."""
        num_tokens = lease.leaf.end
        self.arena.free(lease.tail_start - num_tokens, num_tokens + lease.tail_capacity)

    def clear(self) -> None:
        """Nothing is kept."""

    def check_integrity(self, leases: Sequence[Lease]) -> None:
        """See `SegmentCache.check_integrity`."""
        held = sum(lease.leaf.end + lease.tail_capacity for lease in leases)
        if held + self.arena.num_free != self.arena.capacity:
            raise RuntimeError(f"{held} slots held and {self.arena.num_free} free of {self.arena.capacity}")

"""A radix tree of segments: contexts are found in it as far as they go, split where they part, and evicted when old.

A segment that matches in part is split, which moves no data. Eviction takes leaves that no lease holds, the least
recently used first. segment_integrity.py says what always holds.
"""

import heapq
from collections.abc import Iterator, Sequence

from handful.engine.arena import Arena
from handful.engine.segment_integrity import check_nodes, check_slots
from handful.engine.segments import PUBLIC, Lease, Salt, Segment


def num_common(a: Sequence[int], b: Sequence[int]) -> int:
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
        matched = num_common(child.tokens, tokens[node.end : child.end])
        if matched < len(child.tokens):
            return child, matched
        node = child
    return node, len(node.tokens)


Idle = tuple[int, int, Segment]  # when it was last used, something to tell equals apart, and itself


def _entry(segment: Segment) -> Idle:
    return segment.last_used, id(segment), segment


def _is_evictable(entry: Idle) -> bool:
    """Whether what is said of a segment still holds."""
    last_used, _, segment = entry
    is_stale = segment.parent is None or segment.num_users or segment.children
    return not is_stale and segment.last_used == last_used


class SegmentTree:
    """A radix tree over tokens whose nodes are segments: the `SegmentCache` that shares."""

    def __init__(self, arena: Arena) -> None:
        self.arena = arena
        self.root = Segment((), 0, 0, None)
        self._private_roots: set[Segment] = set()
        self._clock = 0
        self._num_nodes = 0  # of the tree that is shared
        self._idle: list[Idle] = []  # a heap of candidates for eviction; stale entries are skipped

    @property
    def num_free_slots(self) -> int:
        """Slots that are free at once."""
        return self.arena.num_free

    @property
    def num_evictable_slots(self) -> int:
        """Slots of segments that no lease holds."""
        return sum(len(node.tokens) for node in self._nodes(self.root) if node.num_users == 0)

    def acquire(
        self, tokens: Sequence[int], tail_capacity: int, *, share: bool = True, salt: Salt = "", stays: bool = False
    ) -> Lease | None:
        """See `SegmentCache.acquire`."""
        wanted = tuple(tokens)
        self._clock += 1
        root = self.root if share else Segment((), 0, 0, None)
        node = self._descend(root, wanted, salt)
        self._lock(node)
        missing = len(wanted) - node.end
        start = self._reserve(missing + tail_capacity, last=stays)
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
            self._num_nodes += int(share)
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
                node.parent = None
        else:
            self._drop_uncomputed(lease.leaf)

    def clear(self) -> None:
        """See `SegmentCache.clear`."""
        while self._evict_one():
            pass

    def check_integrity(self, leases: Sequence[Lease]) -> None:
        """See `SegmentCache.check_integrity`."""
        nodes = [node for root in (self.root, *self._private_roots) for node in self._nodes(root)]
        check_nodes(nodes, leases)
        check_slots(self.arena, nodes, leases)

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
        self._num_nodes += 1
        return front

    def _lock(self, node: Segment) -> None:
        for segment in node.path():
            segment.num_users += 1
            segment.last_used = self._clock

    def _unlock(self, node: Segment) -> Segment:
        """Undo `_lock`; returns the root of the path."""
        walk, path = node, node.path()
        while walk.parent is not None:
            walk.num_users -= 1
            walk.last_used = self._clock
            walk = walk.parent
        if walk is self.root:  # what is private leaves with its lease
            for segment in path:
                self._offer(segment)
        return walk

    def _offer(self, segment: Segment) -> None:
        """Let a segment be evicted that nobody uses."""
        if segment.num_users or segment.children:
            return
        heapq.heappush(self._idle, _entry(segment))
        if len(self._idle) > 2 * self._num_nodes + 64:
            self._idle = list({id(entry[2]): entry for entry in self._idle if _is_evictable(entry)}.values())
            heapq.heapify(self._idle)

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

    def _reserve(self, length: int, *, last: bool) -> int | None:
        start = self.arena.allocate(length, last=last)
        if start is None and length > self.arena.num_free + self.num_evictable_slots:
            return None  # nothing is evicted in vain
        while start is None and self._evict_one():
            start = self.arena.allocate(length, last=last)
        return start

    def _evict_one(self) -> bool:
        while self._idle:
            entry = heapq.heappop(self._idle)
            if _is_evictable(entry):
                self._remove(entry[2])
                return True
        return False

    def _remove(self, segment: Segment) -> None:
        parent = segment.parent
        if parent is None:
            raise RuntimeError("the root can't be removed")
        del parent.children[segment.key]
        self._num_nodes -= 1
        self.arena.free(segment.start, len(segment.tokens))
        segment.parent = None
        if parent.parent is not None:
            self._offer(parent)

    def _nodes(self, root: Segment) -> Iterator[Segment]:
        pending = list(root.children.values())
        while pending:
            node = pending.pop()
            pending.extend(node.children.values())
            yield node

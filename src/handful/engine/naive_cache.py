"""A cache that shares nothing: what the tree of segments is held against."""

from collections.abc import Sequence

from handful.engine.arena import Arena
from handful.engine.segments import Lease, Salt, Segment


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
        stays: bool = False,
    ) -> Lease | None:
        """See `SegmentCache.acquire`; nothing is ever shared."""
        start = self.arena.allocate(len(tokens) + tail_capacity, last=stays)
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

"""What always holds of a tree of segments, recounted from the leases in force.

Every slot is free, or a segment's, or a lease's tail, and only one of these; `num_users` of a segment is the number of
leases whose path holds it; a child starts at the position where its parent ends and is computed only as far as its
parent is complete; children of one salt differ in their first token; the parent of a segment is public or of the same
salt.
"""

from collections import Counter
from collections.abc import Sequence

from handful.engine.arena import Arena
from handful.engine.segments import PUBLIC, Lease, Segment


def check_slots(arena: Arena, nodes: Sequence[Segment], leases: Sequence[Lease]) -> None:
    """Whether every slot has one owner; RuntimeError where it has none or two."""
    owned = arena.extents()
    owned += [(lease.tail_start, lease.tail_capacity) for lease in leases if lease.tail_capacity]
    owned += [(node.start, len(node.tokens)) for node in nodes]
    end = 0
    for start, length in sorted(owned):
        if start != end:
            raise RuntimeError(f"slots {min(start, end)}..{max(start, end)} have no owner or two")
        end = start + length
    if end != arena.capacity:
        raise RuntimeError(f"slots from {end} on have no owner")


def check_nodes(nodes: Sequence[Segment], leases: Sequence[Lease]) -> None:
    """Whether every segment is where its parent says and counts its users; RuntimeError otherwise."""
    users = Counter(id(segment) for lease in leases for segment in lease.path())
    for node in nodes:
        _check_node(node, users[id(node)])


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

"""Which slots of the KV memory are free: contiguous extents of token slots, first fit (last fit for what stays).

Invariant: `free` is sorted, its extents are disjoint and never touch (touching ones are merged).
"""

from bisect import bisect_left


class Arena:
    """Hands out contiguous runs of token slots `[start, start + length)` out of `capacity` slots. No tensors."""

    def __init__(self, capacity: int) -> None:
        self.capacity = capacity
        self._starts: list[int] = [0]
        self._lengths: list[int] = [capacity]

    @property
    def num_free(self) -> int:
        """Free slots in all, contiguous or not."""
        return sum(self._lengths)

    def extents(self) -> list[tuple[int, int]]:
        """The free extents as (start, length), ascending."""
        return list(zip(self._starts, self._lengths, strict=True))

    def allocate(self, length: int, *, last: bool = False) -> int | None:
        """Take the first free run of `length` slots, or the last; None when none is long enough. Zero take nothing."""
        if length == 0:
            return 0
        extents = range(len(self._lengths))
        for i in reversed(extents) if last else extents:
            if self._lengths[i] >= length:
                return self._take(i, length, from_end=last)
        return None

    def _take(self, i: int, length: int, *, from_end: bool) -> int:
        start = self._starts[i] + (self._lengths[i] - length if from_end else 0)
        if self._lengths[i] == length:
            del self._starts[i], self._lengths[i]
            return start
        self._starts[i] += 0 if from_end else length
        self._lengths[i] -= length
        return start

    def free(self, start: int, length: int) -> None:
        """Give slots back. They must have been handed out: an overlap with free slots raises RuntimeError."""
        if length == 0:
            return
        i = bisect_left(self._starts, start)
        before_end = self._starts[i - 1] + self._lengths[i - 1] if i else 0
        after = self._starts[i] if i < len(self._starts) else self.capacity
        if start < before_end or start + length > after:
            raise RuntimeError(f"slots {start}..{start + length} are free already")
        joins_before = i > 0 and before_end == start
        joins_after = i < len(self._starts) and start + length == after
        if joins_before and joins_after:
            self._lengths[i - 1] += length + self._lengths[i]
            del self._starts[i], self._lengths[i]
        elif joins_before:
            self._lengths[i - 1] += length
        elif joins_after:
            self._starts[i] = start
            self._lengths[i] += length
        else:
            self._starts.insert(i, start)
            self._lengths.insert(i, length)

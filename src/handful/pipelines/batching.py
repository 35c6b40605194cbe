"""Which rows of tokens run side by side: rows of much the same length, so that little of a batch is padding."""

from collections.abc import Iterator, Sequence

MAX_BATCH_TOKENS = 4096  # padding included: more fills no product better, and leaves the cache


def length_batches(lengths: Sequence[int], max_tokens: int = MAX_BATCH_TOKENS) -> Iterator[list[int]]:
    """Indices of rows, batch by batch, the longest first (what doesn't fit into memory fails at once).

    A batch takes at most `max_tokens` with its padding, but always one row.
    """
    batch: list[int] = []
    for index in sorted(range(len(lengths)), key=lambda i: lengths[i], reverse=True):
        if batch and (len(batch) + 1) * lengths[batch[0]] > max_tokens:
            yield batch
            batch = []
        batch.append(index)
    if batch:
        yield batch

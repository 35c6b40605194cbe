"""Which tokens of a step are computed in a model's exact format, where it has a faster one too.

Rounding a query's activations to bytes moves that query's answer a little, this way or that. Rounding those of a prefix
moves the answers of every query behind it in the same direction, and a label that wins by little then loses everywhere
(docs/decisions/0050-a-prefix-is-computed-exactly.md). So what many queries read is computed exactly, once: pinned
prefixes, and every long run of tokens that is kept as one segment, since whoever comes next may share it.
"""

from collections.abc import Sequence

from handful.engine.request import Warm, Work

LONG_SEGMENT = 128  # tokens: longer than most queries, shorter than most tasks


def in_two_formats(works: Sequence[Work]) -> tuple[list[Work], list[Work]]:
    """The works that are to be exact, and the rest. A work across the border becomes two, its first tokens exact."""
    exact, rest = [], []
    for work in works:
        count = min(max(_exact_end(work) - work.first, 0), work.count)
        if count:
            exact.append(Work(work.request, work.first, count))
        if count < work.count:
            rest.append(Work(work.request, work.first + count, work.count - count))
    return exact, rest


def _exact_end(work: Work) -> int:
    """How many tokens of the request's context, from its start on, are to be exact."""
    request = work.request
    if isinstance(request.goal, Warm):
        return request.num_shared
    if request.lease is None or work.first >= request.num_shared:
        return 0
    return max((s.end for s in request.lease.path() if len(s.tokens) >= LONG_SEGMENT), default=0)

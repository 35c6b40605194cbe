"""The segment tree against a plain model of what it promises, under random requests that come, compute and go."""

import random

from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from handful.engine.arena import Arena
from handful.engine.naive_cache import NaiveCache
from handful.engine.segment_tree import SegmentTree
from handful.engine.segments import PUBLIC, Lease, Salt

TOKENS = st.lists(st.integers(0, 2), min_size=0, max_size=12)
SALTS: st.SearchStrategy[Salt] = st.sampled_from([PUBLIC, "", "ada", "grace"])


class TreeMachine(RuleBasedStateMachine):
    """Requests acquire contexts, compute some of them in order, and release them, in any order."""

    @initialize(capacity=st.integers(8, 60))
    def begin(self, capacity: int) -> None:
        self.tree = SegmentTree(Arena(capacity))
        self.held: dict[int, tuple[Lease, tuple[int, ...]]] = {}
        self.number = 0
        self.contents: dict[int, tuple[int, ...]] = {}  # what a real KV cache would hold: slot -> context up to it

    @rule(tokens=TOKENS, tail=st.integers(1, 5), share=st.booleans(), salt=SALTS)
    def acquire(self, tokens: list[int], tail: int, share: bool, salt: Salt) -> None:
        lease = self.tree.acquire(tokens, tail, share=share, salt=salt)
        if lease is None:
            return
        assert [t for s in lease.path() for t in s.tokens] == tokens
        assert {s.salt for s in lease.path()} <= {PUBLIC, salt}
        if not share:
            assert lease.num_cached_tokens == 0
        self.number += 1
        self.held[self.number] = (lease, tuple(tokens))

    @precondition(lambda self: self.held)
    @rule(data=st.data(), count=st.integers(1, 6))
    def compute(self, data: st.DataObject, count: int) -> None:
        lease, tokens = self.held[data.draw(st.sampled_from(sorted(self.held)))]
        for segment in lease.path():
            while count and not segment.is_complete:
                context = tokens[: segment.position + segment.num_computed + 1]
                self.contents[segment.start + segment.num_computed] = context
                segment.num_computed += 1
                count -= 1
            if not segment.is_complete:
                return

    @precondition(lambda self: self.held)
    @rule(data=st.data())
    def release(self, data: st.DataObject) -> None:
        number = data.draw(st.sampled_from(sorted(self.held)))
        lease, _ = self.held.pop(number)
        self.tree.release(lease, number)

    @rule()
    def clear(self) -> None:
        self.tree.clear()

    @invariant()
    def every_slot_has_one_owner_and_the_counts_are_right(self) -> None:
        self.tree.check_integrity([lease for lease, _ in self.held.values()])

    @invariant()
    def what_counts_as_computed_is_the_context_itself(self) -> None:
        for lease, tokens in self.held.values():
            for segment in lease.path():
                for i in range(segment.num_computed):
                    assert self.contents[segment.start + i] == tokens[: segment.position + i + 1]

    def teardown(self) -> None:
        for number, (lease, _) in getattr(self, "held", {}).items():
            self.tree.release(lease, number)
        if hasattr(self, "tree"):
            self.tree.clear()
            self.tree.check_integrity([])
            assert self.tree.num_free_slots == self.tree.arena.capacity


TreeMachine.TestCase.settings = settings(max_examples=60, stateful_step_count=30, deadline=None)
test_the_tree_keeps_its_promises = TreeMachine.TestCase


@given(contexts=st.lists(TOKENS, min_size=1, max_size=8))
def test_the_naive_twin_gives_the_same_contexts_and_shares_nothing(contexts: list[list[int]]) -> None:
    tree, naive = SegmentTree(Arena(500)), NaiveCache(Arena(500))
    for tokens in contexts:
        shared, alone = tree.acquire(tokens, 2), naive.acquire(tokens, 2)
        assert shared is not None
        assert alone is not None
        assert [t for s in shared.path() for t in s.tokens] == [t for s in alone.path() for t in s.tokens] == tokens
        assert alone.num_cached_tokens == 0


ASKED = st.lists(st.tuples(SALTS, TOKENS, st.integers(0, 12)), max_size=25)


def found(tree: SegmentTree, asked: list[tuple[Salt, list[int], int]]) -> list[int]:
    """What each request in turn finds in the cache, when it computes so many tokens of its context before it leaves."""
    counts = []
    for number, (salt, tokens, num_computed) in enumerate(asked):
        lease = tree.acquire(tokens, 1, salt=salt)
        assert lease is not None
        counts.append(lease.num_cached_tokens)
        left = num_computed
        for segment in lease.path():
            more = min(left, len(segment.tokens) - segment.num_computed)
            segment.num_computed += more
            left -= more
            if not segment.is_complete:
                break
        tree.release(lease, number)
        tree.check_integrity([])
    return counts


@given(ASKED)
def test_what_a_caller_finds_does_not_depend_on_what_others_ask(asked: list[tuple[Salt, list[int], int]]) -> None:
    """Public text aside, which is computed whole when it is pinned."""
    asked = [(salt, tokens, 12 if salt is PUBLIC else n) for salt, tokens, n in asked]
    together = found(SegmentTree(Arena(2000)), asked)
    for salt in ("", "ada", "grace"):
        own = [(index, each) for index, each in enumerate(asked) if each[0] in (PUBLIC, salt)]
        alone = found(SegmentTree(Arena(2000)), [each for _, each in own])
        mine = [(together[index], count) for (index, each), count in zip(own, alone, strict=True) if each[0] == salt]
        assert all(with_others == without for with_others, without in mine)


@given(ASKED)
def test_what_a_caller_may_read_is_found_as_far_as_it_goes(asked: list[tuple[Salt, list[int], int]]) -> None:
    """The oracle: all texts that were ever computed in public or by the caller, compared token by token."""
    asked = [(salt, tokens, 12) for salt, tokens, _ in asked]
    for index, count in enumerate(found(SegmentTree(Arena(2000)), asked)):
        salt, tokens, _ = asked[index]
        readable = [other for its, other, _ in asked[:index] if its in (PUBLIC, salt)]
        longest = max((_num_common(tokens, other) for other in readable), default=0)
        assert count == longest


def _num_common(first: list[int], second: list[int]) -> int:
    pairs = zip(first, second, strict=False)
    return next((i for i, (a, b) in enumerate(pairs) if a != b), min(len(first), len(second)))


@given(lengths=st.lists(st.integers(0, 9), max_size=20), order=st.randoms(use_true_random=False))
def test_an_arena_whose_runs_all_came_back_is_one_run_again(lengths: list[int], order: random.Random) -> None:
    arena = Arena(100)
    runs = [(start, n) for n in lengths if (start := arena.allocate(n)) is not None]
    order.shuffle(runs)
    for start, length in runs:
        arena.free(start, length)
    assert arena.extents() == [(0, 100)]


def test_what_has_left_is_not_remembered_however_often_it_comes() -> None:
    tree = SegmentTree(Arena(1000))
    for number in range(500):
        for share in (True, False):
            lease = tree.acquire([number % 3, *range(20)], 4, share=share)
            assert lease is not None
            for segment in lease.path():
                segment.num_computed = len(segment.tokens)
            tree.release(lease, -1)
    assert len(tree._idle) <= 70


def test_nothing_is_evicted_for_what_still_would_not_fit() -> None:
    tree = SegmentTree(Arena(100))
    held, idle = tree.acquire(range(40), 0), tree.acquire(range(100, 140), 0)
    assert held is not None
    assert idle is not None
    for segment in idle.path():
        segment.num_computed = len(segment.tokens)
    tree.release(idle, -1)
    assert tree.acquire(range(200, 270), 0) is None
    assert tree.num_evictable_slots == 40
    assert tree.acquire(range(200, 250), 0) is not None

"""Callers side by side: nobody starves, whoever comes is let in, and who is alone notices nothing of all this."""

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from itertools import count

from hypothesis import given, settings
from hypothesis import strategies as st

from handful.engine.arena import Arena
from handful.engine.events import Completed
from handful.engine.request import Embed, Generate, Request, Work
from handful.engine.scheduler import Limits, Scheduler
from handful.engine.segment_tree import SegmentTree
from handful.engine.sharing import divide
from handful.engine.stopping import TextState
from handful.types import GenerationParameters
from tests.parity import engines
from tests.parity.engines import Setup
from tests.property.test_drafts import TOKENS, VARIANTS, parameters, text_of

SLOTS = 120
MOST_TOKENS = 40


class InOrder(Scheduler):
    """As if there were one caller: prefill in order of arrival, and nobody steps back."""

    def schedule(self) -> list[Work]:
        """What `Scheduler.schedule` is for one caller."""
        budget = self.limits.max_batched_tokens
        works: list[Work] = []
        going = [request for request in self.running if request.is_shared_complete]
        going = [request for request in going if isinstance(request.goal, Generate)]
        for request in (*going, *(request for request in self.running if request not in going)):
            budget = self._give(request, budget, works)
        while budget and self.waiting and len(self.running) < self.limits.max_running_requests:
            if not self._admit(self.waiting.first):
                break
            request = self.waiting.popleft()
            self.running.append(request)
            budget = self._give(request, budget, works)
        return works


@dataclass(frozen=True)
class Asked:
    """A request: who sends it at which step, its prompt, and how many tokens it writes (0: it embeds)."""

    owner: str
    step: int
    prompt: tuple[int, ...]
    num_new: int

    def request(self, number: int) -> Request:
        wanted = GenerationParameters(max_new_tokens=self.num_new)
        goal = Generate(wanted, 0, TextState(lambda ids: "", ())) if self.num_new else Embed()
        return Request(number, self.prompt, goal, owner=self.owner)


@dataclass
class Course:
    """What was run: the works of each step, and the steps at which requests began and ended."""

    works: list[list[tuple[int, int, int]]] = field(default_factory=list)
    began: dict[int, int] = field(default_factory=dict)
    ended: dict[int, int] = field(default_factory=dict)


def play(scheduler: Scheduler, asked: Sequence[Asked]) -> Course:
    """Play the engine's part until everything has ended; what must hold of every step is checked."""
    course, coming = Course(), [(each.step, each.request(number)) for number, each in enumerate(asked)]
    for step in count():
        if not scheduler.has_work and all(at < step for at, _ in coming):
            break
        for request in [request for at, request in coming if at == step]:
            scheduler.add(request)
        works = scheduler.schedule()
        course.works.append([(work.request.id, work.first, work.count) for work in works])
        assert sum(work.count for work in works) <= scheduler.limits.max_batched_tokens
        assert len(scheduler.running) <= scheduler.limits.max_running_requests
        assert works or not scheduler.has_work
        scheduler.advance(works)
        for request in scheduler.running:
            course.began.setdefault(request.id, step)
        for request in [work.request for work in works]:
            if request.num_tail_computed < len(request.tail):
                continue
            request.output.append(0)
            if len(request.output) < request.tail_capacity and isinstance(request.goal, Generate):
                request.tail.append(0)
            else:
                scheduler.finish(request)
                course.ended[request.id] = step
        scheduler.cache.check_integrity(scheduler.leases())
    return course


def make(kind: type[Scheduler], budget: int, places: int, slots: int = SLOTS) -> Scheduler:
    limits = Limits(max_batched_tokens=budget, max_running_requests=places, max_queued_requests=1000, num_slots=slots)
    return kind(SegmentTree(Arena(slots)), limits)


ASKED = st.builds(
    Asked,
    st.sampled_from("aaaabc"),
    st.integers(0, 25),
    st.lists(st.integers(0, 2), min_size=1, max_size=MOST_TOKENS // 2).map(tuple),
    st.integers(0, MOST_TOKENS // 2),
)
BUDGETS, PLACES = st.integers(1, 40), st.integers(1, 6)


@settings(deadline=None)
@given(st.lists(ASKED, max_size=30), BUDGETS, PLACES)
def test_every_request_of_every_caller_ends(asked: list[Asked], budget: int, places: int) -> None:
    course = play(make(Scheduler, budget, places), asked)
    assert sorted(course.ended) == list(range(len(asked)))


@settings(deadline=None)
@given(st.lists(ASKED, max_size=30), BUDGETS, PLACES)
def test_for_one_caller_every_step_is_what_it_would_be_without_all_this(
    asked: list[Asked], budget: int, places: int
) -> None:
    alone = [replace(each, owner="a") for each in asked]
    assert play(make(Scheduler, budget, places), alone).works == play(make(InOrder, budget, places), alone).works


@settings(deadline=None)
@given(st.lists(ASKED, min_size=1, max_size=30), st.integers(0, 40), BUDGETS, st.integers(2, 6))
def test_a_newcomer_beside_one_caller_begins_in_the_step_it_comes(
    asked: list[Asked], step: int, budget: int, places: int
) -> None:
    """With memory for all of it; and the other caller's requests haven't stepped back for anybody before."""
    others = [replace(each, owner="a") for each in asked]
    course = play(make(Scheduler, budget, places, 10_000), [*others, Asked("new", step, (7, 8, 9), 3)])
    assert course.began[len(others)] == step


def test_a_newcomer_begins_at_once_where_it_waited_for_the_wave_to_end() -> None:
    many = [Asked("many", 0, (*range(50), 100 + number), 40) for number in range(70)]
    one = Asked("one", 15, tuple(range(200, 250)), 4)
    now, before = (play(make(kind, 128, 32, 10_000), [*many, one]) for kind in (Scheduler, InOrder))
    waits = [each.began[len(many)] - one.step for each in (now, before)]
    assert (waits[0], waits[1] > 20) == (0, True)
    assert len(now.works) <= len(before.works) + 1


WANTED = st.lists(st.tuples(st.sampled_from("abc"), st.integers(0, 30)), max_size=12)


@given(WANTED, st.integers(0, 100))
def test_a_step_is_divided_equally_and_nothing_of_it_is_left_that_anybody_wants(
    wanted: list[tuple[str, int]], budget: int
) -> None:
    given_rows = divide(wanted, budget)
    assert all(0 <= rows <= asked for rows, (_, asked) in zip(given_rows, wanted, strict=True))
    assert sum(given_rows) == min(budget, sum(rows for _, rows in wanted))
    got, wants = ({one: 0 for one, _ in wanted} for _ in range(2))
    for rows, (caller, asked) in zip(given_rows, wanted, strict=True):
        assert rows == asked or got[caller] <= sum(given_rows)
        got[caller] += rows
        wants[caller] += asked
    for caller, rows in got.items():
        assert rows == wants[caller] or rows >= max(got.values()) - 1


@st.composite
def callers(draw: st.DrawFn) -> list[tuple[str, int, list[int], GenerationParameters]]:
    one = st.tuples(st.sampled_from("aaab"), st.integers(0, 8), TOKENS, parameters())
    return draw(st.lists(one, min_size=2, max_size=8))


@settings(max_examples=40, deadline=None)
@given(VARIANTS, callers(), st.sampled_from([2, 3]), st.sampled_from([0, 10_000]), st.sampled_from([200, 1000]))
def test_a_text_is_the_same_whoever_it_stepped_back_for(
    variant: str,
    asked: list[tuple[str, int, list[int], GenerationParameters]],
    running: int,
    free_rows: int,
    slots: int,
) -> None:
    setup = Setup(budget=64, slots=slots, running=running, free_rows=free_rows)
    made = engines.engine(variant, setup, eos=frozenset({5, 77}))
    requests = [_request(number, *each) for number, each in enumerate(asked)]
    events = []
    for step in range(9):
        for request, (_, at, _, _) in zip(requests, asked, strict=True):
            if at == step:
                made.add(request)
        events += made.step()
        made.check_integrity()
    events += engines.run(made)
    ends = [event for event in events if isinstance(event, Completed)]
    assert sorted(event.request.id for event in ends) == list(range(len(asked)))
    for number, (_, _, prompt, wanted) in enumerate(asked):
        alone = engines.engine(variant, replace(setup, slots=1000), eos=frozenset({5, 77}))
        twin = _request(number, "", 0, prompt, wanted)
        alone.add(twin)
        engines.run(alone)
        assert requests[number].output == twin.output


def _request(number: int, owner: str, _: int, prompt: list[int], wanted: GenerationParameters) -> Request:
    return Request(
        number, tuple(prompt), Generate(wanted, wanted.seed or 0, TextState(text_of, wanted.stop)), owner=owner
    )

"""One request's state: a few integers, and what is derived from them.

    context tokens   [ shared: prompt without its last token ][ tail: last prompt token, then generated or trie tokens ]
    kept in          the lease's path of segments              the lease's private slots
    computed so far  each segment's `num_computed`             `num_tail_computed`

Generate, score, embed and warm (compute a prefix and keep it) differ only in their goal: which rows are wanted and what
becomes of them. The scheduler sees tokens to run, nothing else.
"""

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from handful.engine.choices import Choices
from handful.engine.labels import LabelTrie
from handful.engine.segments import PUBLIC, Lease, Salt
from handful.types import GenerationParameters

if TYPE_CHECKING:
    from handful.engine.stopping import TextState


@dataclass(frozen=True, slots=True)
class Generate:
    """Continue the prompt. `text` turns tokens into text and watches for end sequences.

    With `choices` the text is one of these (the `choices` of the parameters as tokens).
    """

    parameters: GenerationParameters
    seed: int
    text: "TextState"
    choices: Choices | None = None

    @property
    def forces_ahead(self) -> bool:
        """Whether tokens that must come are taken without a row of their own: nobody asks how probable they were."""
        return self.choices is not None and self.parameters.logprobs is None


@dataclass(frozen=True, slots=True)
class ScoreLabels:
    """Log-probabilities of the continuations in `trie`."""

    trie: LabelTrie


@dataclass(frozen=True, slots=True)
class Embed:
    """The hidden state at the prompt's last token: behind the last norm, or as it leaves `layer`, counted from 1."""

    layer: int | None = None


@dataclass(frozen=True, slots=True)
class Warm:
    """Compute the whole prompt and hold it until it is let go."""


Goal = Generate | ScoreLabels | Embed | Warm


@dataclass(slots=True, eq=False)
class Request:
    """A prompt (at least one token) and what is wanted of it.

    Both times are on the monotonic clock, in seconds: past `deadline` the request fails, past `time_limit` (the
    parameter `max_time`) it ends with what it has. `owner` is the caller it is computed for, "" nobody in particular:
    callers take turns, and none reads from the cache what another left in it.
    """

    id: int
    prompt: tuple[int, ...]
    goal: Goal
    deadline: float | None = None
    time_limit: float | None = None
    owner: str = ""
    lease: Lease | None = None
    slots: NDArray[np.int64] | None = None  # the arena slot of every context position, tail capacity included
    tail: list[int] = field(default_factory=list)
    num_tail_computed: int = 0
    num_cached_tokens: int = 0
    output: list[int] = field(default_factory=list)
    read: dict[tuple[int, int], float] = field(default_factory=dict)  # log-probabilities of (row, token) pairs
    is_shared_complete: bool = False
    was_set_back: bool = False  # it ran, and waits or waited again so that another caller could

    def __post_init__(self) -> None:
        if isinstance(self.goal, Warm):
            return
        self.tail = [self.prompt[-1]]
        if isinstance(self.goal, ScoreLabels):
            self.tail += self.goal.trie.tokens

    @property
    def salt(self) -> Salt:
        """Whose cache it reads and fills. A prefix that nobody in particular keeps is everybody's."""
        return PUBLIC if isinstance(self.goal, Warm) and not self.owner else self.owner

    @property
    def num_shared(self) -> int:
        """Context tokens that live in shared segments."""
        return len(self.prompt) if isinstance(self.goal, Warm) else len(self.prompt) - 1

    @property
    def tail_capacity(self) -> int:
        """Private slots needed from start to end: reserved at admission, so a running request never runs out."""
        if isinstance(self.goal, Generate):
            return max(1, self.goal.parameters.max_new_tokens)
        return len(self.tail)

    @property
    def num_slots(self) -> int:
        """Slots of the whole context when nothing of it is shared."""
        return self.num_shared + self.tail_capacity

    @property
    def wants_prompt_logprobs(self) -> bool:
        """Whether every prompt position's logits are read, so that none of them can come from the cache."""
        goal = self.goal
        return isinstance(goal, Generate) and goal.parameters.echo and goal.parameters.logprobs is not None

    @property
    def is_warmed(self) -> bool:
        """Whether this is a prefix that is computed now."""
        return isinstance(self.goal, Warm) and self.lease is not None and self.lease.is_complete

    def positions(self, first: int, count: int) -> NDArray[np.int64]:
        """Positions of `count` context tokens: their index, but for trie nodes, which stand at their depth."""
        positions = np.arange(first, first + count)
        if isinstance(self.goal, ScoreLabels):
            depths = np.array((0, *self.goal.trie.depths))
            shared = self.num_shared
            in_tail = positions >= shared
            positions[in_tail] = shared + depths[positions[in_tail] - shared]
        return positions

    def wanted_rows(self, first: int, count: int) -> range:
        """Which of the context tokens `[first, first + count)` have logits (or a hidden state) that is read."""
        end, shared = first + count, self.num_shared
        if self.wants_prompt_logprobs:
            return range(first, end)
        if isinstance(self.goal, ScoreLabels):
            return range(max(first, shared), end)
        if isinstance(self.goal, Warm):
            return range(0)
        last = shared + len(self.tail) - 1
        return range(last, end) if end > last else range(0)


@dataclass(frozen=True, slots=True)
class Work:
    """What one request runs in one step: the context tokens `[first, first + count)`.

    The last of them, `draft`, are only guessed (drafts.py): each is right if the row before it says so.
    """

    request: Request
    first: int
    count: int
    draft: tuple[int, ...] = ()

    @property
    def end(self) -> int:
        """The position behind the last token that is certain."""
        return self.first + self.count - len(self.draft)

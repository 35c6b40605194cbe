"""The tasks of a server: which there are, on which model each runs, and who sees it.

A name means the caller's own private task first, then the public one: somebody else's private task never takes a name
away, and never shows.
"""

from collections import OrderedDict
from collections.abc import Iterable, Iterator
from contextlib import suppress
from dataclasses import dataclass

from handful.backend import AsyncBackend
from handful.errors import BusyError, HandfulError, InvalidInputError, NotFoundError
from handful.protocol.names import check_name
from handful.protocol.nlp_tasks import TEXT_GENERATION
from handful.server.classifier import ServedClassifier
from handful.server.ownership import current_account, visible
from handful.server.task_pins import TaskPins
from handful.store.tasks import StoredTask
from handful.task.fit import Fitter
from handful.task.predict import ameasure
from handful.task.render import prefix
from handful.task.task import Task

TaskKey = tuple[str | None, str]
"""Whose private task it is (None: a public one), and its name."""
_MAX_FITTERS = 1024


@dataclass(frozen=True, slots=True)
class ServedTask:
    """A task and the served name of its model. `stored` is None for one from a file, which nobody changes over HTTP.

    With a `classifier` that answers, and `task` says how its inputs look; `number` counts how often it was saved anew.
    """

    task: Task
    model: str
    stored: StoredTask | None = None
    classifier: ServedClassifier | None = None
    number: int = 1

    @property
    def private_to(self) -> str | None:
        """The account that alone sees the task; None where everybody does."""
        return self.stored.owner if self.stored is not None and self.stored.is_private else None

    @property
    def key(self) -> TaskKey:
        """Where it stands in the registry."""
        return self.private_to, self.task.name

    @property
    def version(self) -> int:
        """The number of its version; a task file is always the first."""
        return self.number if self.stored is None else self.stored.version

    @property
    def holder(self) -> tuple[TaskKey, int]:
        """Under which name it holds its prefix: each version for itself."""
        return self.key, self.version

    @property
    def prefix(self) -> str:
        """What all its prompts begin with."""
        return prefix(self.task)


def check_runs_tasks(model: str, purpose: str | None) -> None:
    """Refuse a model that is no language model, as far as that is known (InvalidInputError): tasks are its prompts."""
    if purpose not in (None, TEXT_GENERATION):
        raise InvalidInputError(f"Model {model} can't run a task: it is for {purpose}.", fix="Name a language model.")


class TaskRegistry:
    """Tasks by name, in the order in which they came. Belongs to one event loop."""

    def __init__(self, tasks: Iterable[ServedTask] = ()) -> None:
        self._tasks: dict[TaskKey, ServedTask] = {}
        self._fitters: OrderedDict[tuple[object, ...], Fitter] = OrderedDict()
        self.pins = TaskPins()
        for served in tasks:
            check_name("task", served.task.name)
            if served.key in self._tasks:
                raise InvalidInputError(f"Two tasks are named {served.task.name!r}.", fix="Rename one of them.")
            self._tasks[served.key] = served

    def __iter__(self) -> Iterator[ServedTask]:
        """The tasks that the caller sees; of those of one name the one that the name means."""
        account = current_account.get()
        for (private_to, name), served in list(self._tasks.items()):
            is_hidden = private_to is None and account is not None and (account, name) in self._tasks
            if visible(private_to) and not is_hidden:
                yield served

    def everything(self) -> tuple[ServedTask, ...]:
        """All tasks, whoever sees them; never for an answer."""
        return tuple(self._tasks.values())

    def find(self, key: TaskKey) -> ServedTask | None:
        """The task that stands at a key, whoever sees it; never for an answer."""
        return self._tasks.get(key)

    def get(self, name: str) -> ServedTask:
        """A task by its name, among those that the caller sees. Raises NotFoundError."""
        account = current_account.get()
        mine = None if account is None else self._tasks.get((account, name))
        served = mine or self._tasks.get((None, name))
        if served is None:
            there = ", ".join(each.task.name for each in self) or "none; POST /tasks makes one"
            raise NotFoundError(f"Task {name[:200]} does not exist.", fix=f"This server has: {there}.")
        return served

    def put(self, served: ServedTask) -> None:
        """Add a task, or let it take the place of its earlier version: the next request gets it."""
        self._tasks[served.key] = served

    def remove(self, key: TaskKey) -> None:
        """Forget a task. Requests that run go on with it."""
        self._tasks.pop(key, None)

    def fitter(self, served: ServedTask, backend: AsyncBackend) -> Fitter:
        """The one fitter of a version of a task: it remembers the token count of the task's prefix."""
        identity = served.task.name if served.stored is None else served.stored.id
        key = (identity, served.version, served.model, backend.info.context_length)
        found = self._fitters.get(key)
        if found is None or found.task is not served.task:  # a version that was given up left one
            self._fitters[key] = Fitter(served.task, backend.info.context_length)
        self._fitters.move_to_end(key)
        while len(self._fitters) > _MAX_FITTERS:
            self._fitters.popitem(last=False)
        return self._fitters[key]

    async def pin(self, model: str, backend: AsyncBackend, num_slots: int) -> None:
        """Let a model that has loaded compute and keep the prefixes of its tasks, so the first query is fast too."""
        self.pins.model_loaded(model, backend, num_slots)
        for served in self.everything():
            if served.model == model:
                with suppress(BusyError):  # it answers all the same, and the first query computes what it needs
                    await self.prepare(served)
                if self._tasks.get(served.key) is not served:  # it was changed or deleted meanwhile
                    await self.let_go(served)

    async def prepare(self, served: ServedTask) -> None:
        """Let a task's model, where it has loaded, compute and keep what all queries of the task share.

        Raises BusyError where the model's queue stays full.
        """
        await self.pins.hold(served.holder, served.model, served.prefix, served.private_to)
        backend = self.pins.backend(served.model, served.private_to)
        if backend is not None:
            with suppress(HandfulError):  # then the first query measures it
                await ameasure(self.fitter(served, backend), backend)

    async def let_go(self, served: ServedTask) -> None:
        """Keep the prefix of a version no longer."""
        await self.pins.release(served.holder, served.model, served.prefix, served.private_to)

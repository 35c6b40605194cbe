"""What `handful serve` is told to serve: from `--model` and `--task` to model sources and served tasks."""

from collections.abc import Callable, Iterable, Sequence
from pathlib import Path

from handful.errors import NotFoundError
from handful.learn.folder import LoadEncoder
from handful.pipelines.load import check_precision
from handful.protocol.names import NAME_PATTERN
from handful.protocol.nlp_tasks import TEXT_GENERATION
from handful.server.classifier import ServedClassifier, load_classifier
from handful.server.model_entry import ModelSource
from handful.server.precisions import Precisions
from handful.server.registry import ModelRegistry
from handful.server.served_model import ServedModel
from handful.server.task_registry import ServedTask, TaskRegistry, check_runs_tasks
from handful.task.task import Task
from handful.types import Precision

Load = Callable[[str, str], ServedModel]
"""By the served name and the model behind it."""
Purpose = Callable[[str], str | None]
_WEIGHTS = (".safetensors", ".bin", ".gguf")


def split_name(spec: str) -> tuple[str, str]:
    """The served name and the model of a `--model` value.

    `name=model` says it; a local folder is served under its own name, a `.gguf` file under its name without the
    ending; anything else (`default`, a Hub id) is its own name. Raises NotFoundError for a path where nothing is.
    """
    name, equals, model = spec.partition("=")
    if equals and NAME_PATTERN.fullmatch(name):
        return name, model
    path = Path(spec).expanduser()
    if path.is_dir():
        return path.resolve().name, spec
    if path.is_file():
        return path.stem, spec
    if spec.startswith(("/", ".", "~")):
        raise NotFoundError(f"There is no model at {spec}.", fix="Give a folder, a .gguf file or a Hub id.")
    return spec, spec


def size_bytes(model: str) -> int:
    """Bytes of weights where the model lies on this disk, else 0."""
    path = Path(model).expanduser()
    if path.is_file():
        return path.stat().st_size
    return sum(file.stat().st_size for file in path.glob("*") if file.suffix in _WEIGHTS) if path.is_dir() else 0


def task_of(spec: str, load_encoder: LoadEncoder) -> Task | ServedClassifier:
    """What a `--task` value names: a task file, or the folder of a saved classifier; `NAME=` before it renames it.

    Raises NotFoundError, TaskError, InvalidInputError, and what `load_encoder` raises.
    """
    name, equals, place = spec.partition("=")
    if not equals or not NAME_PATTERN.fullmatch(name) or Path(spec).exists():
        name, place = "", spec
    path = Path(place).expanduser()
    if path.is_dir():
        return load_classifier(path, name or path.resolve().name, load_encoder)
    task = Task.load(path)
    return task.replace(name=name) if name else task


def registries(
    specs: Sequence[str],
    tasks: Iterable[Task | ServedClassifier],
    load: Load,
    purpose_of: Purpose = lambda _: TEXT_GENERATION,
    kv_bytes: int = 0,
) -> tuple[ModelRegistry, TaskRegistry]:
    """Everything to serve: the models given, those that tasks name, and the tasks on them.

    `purpose_of` says what a model is for (None: that shows when it has loaded); what isn't a language model is loaded
    when it is first asked. `kv_bytes` are those that a language model takes for keys and values. A task without a model
    runs on the first. Raises NotFoundError, InvalidInputError (names that clash or can't be; a task
    on a model that isn't for text).
    """
    named = [split_name(spec) for spec in specs]
    models = dict(named)
    served: list[ServedTask] = []
    for given in tasks:
        task, classifier = (given, None) if isinstance(given, Task) else (given.task, given)
        name, model = split_name(task.model) if task.model else named[0]
        models.setdefault(name, model)
        served.append(ServedTask(task, name, classifier=classifier))
    added = [(name, model) for name, model in models.items() if name not in {each for each, _ in named}]
    sources = [_source(name, model, load, purpose_of(model), kv_bytes) for name, model in (*named, *added)]
    found = ModelRegistry(sources)
    for each in served:
        if each.classifier is None:
            check_runs_tasks(each.model, found.entry(each.model).task)
    return found, TaskRegistry(served)


def check_precisions(precisions: Precisions, models: ModelRegistry, default: Precision) -> None:
    """Refuse, before anything is loaded, one for a model that isn't served or can't run in it (InvalidParameterError).

    `default` is that of the settings. What a model is for may show only when it has loaded; then loading it fails.
    """
    precisions.check_names(models.names)
    for name in models.names:
        if models.entry(name).task not in (None, TEXT_GENERATION):
            check_precision(name, precisions.of(name) or default)


def _source(name: str, model: str, load: Load, purpose: str | None, kv_bytes: int) -> ModelSource:
    is_other = purpose not in (None, TEXT_GENERATION)
    needed = 0 if is_other else kv_bytes
    return ModelSource(name, lambda: load(name, model), size_bytes(model), needed, task=purpose, is_lazy=is_other)

"""`handful serve`: models and tasks behind HTTP, until Ctrl-C or SIGTERM."""

import functools
import sys
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from handful.cli.option_groups import grouped
from handful.types import Device

if TYPE_CHECKING:
    from handful.server.model_entry import ModelEntry
    from handful.server.precisions import Precisions
    from handful.server.state import ServerState
    from handful.store.database import Database

ModelOption = Annotated[
    list[str] | None,
    typer.Option(
        "--model", "-m", metavar="MODEL", help="`default`, a Hub id, a folder, a .gguf file, or NAME=any of them."
    ),
]
TaskOption = Annotated[
    list[Path] | None,
    typer.Option(
        "--task", "-t", metavar="FILE", help="A task file or a saved classifier's folder, or NAME=either; repeatable."
    ),
]
HostOption = Annotated[str, typer.Option(help="Address to listen on. Any but a loopback address is open to others.")]
PortOption = Annotated[int, typer.Option(min=0, max=65535, help="Port to listen on; 0 takes a free one.")]
PrecisionOption = Annotated[
    list[str] | None,
    typer.Option(
        "--precision",
        metavar="[NAME=]PRECISION",
        help="auto, float32, bfloat16 or int8, of all models or of one. float32 is exact; auto takes the fastest that"
        " is safe, for other models than language models float32.",
    ),
]
DeviceOption = Annotated[Device | None, typer.Option(help="auto takes a GPU when there is one.")]
AllowOption = Annotated[
    list[str] | None, typer.Option("--allow-host", metavar="NAME", help="Host name to answer to besides localhost.")
]
TokensOption = Annotated[
    bool | None,
    typer.Option(
        "--require-tokens/--open",
        help="Ask every caller for an API token, or nobody. By default: when --host is not a loopback address.",
        show_default=False,
    ),
]


@dataclass(frozen=True, slots=True, kw_only=True)
class ServeOptions:
    """What was asked for on the command line."""

    model: ModelOption = None
    task: TaskOption = None
    host: HostOption = "127.0.0.1"
    port: PortOption = 8000
    precision: PrecisionOption = None
    device: DeviceOption = None
    allow_host: AllowOption = None
    require_tokens: TokensOption = None


@grouped
def serve(*, asked: ServeOptions) -> None:
    """Answer over HTTP: the Inference API's text generation at /models/NAME, your tasks at /tasks/NAME.

    Example: handful serve --task examples/sentiment.yaml
    """
    from handful.server.host_guard import is_loopback
    from handful.server.process import bind, log_to_stderr, url_of
    from handful.server.process import serve as run

    is_closed = is_loopback(asked.host)
    are_required = not is_closed if asked.require_tokens is None else asked.require_tokens
    state = replace(_state(asked), **_over_database(_database(are_required), are_required))
    listening = bind(asked.host, asked.port)
    log_to_stderr()
    if not (are_required or is_closed):
        _warn(f"{asked.host} can be reached from other machines, and no token is asked for")
    _announce(state, url_of(listening))
    run(state, listening, _say_ready)


def _precisions(given: list[str]) -> "Precisions":
    from handful.errors import InvalidParameterError
    from handful.server.precisions import Precisions

    try:
        return Precisions.read(given)
    except InvalidParameterError as error:
        raise typer.BadParameter(error.problem, param_hint="--precision") from None


def _models(named: list[str], precisions: "Precisions") -> tuple[list[str], "Precisions"]:
    """What is served: what was named; else the settings' model and the encoder, which is loaded when it is asked, where
    what runs it is installed."""
    from handful.config import settings
    from handful.model.source import EMBEDDINGS_NAMES
    from handful.pipelines.pretrained import is_installed

    encoder = EMBEDDINGS_NAMES[0]
    if named or settings().model in EMBEDDINGS_NAMES:
        return named or [settings().model], precisions
    if not is_installed():
        _warn(f"{encoder} isn't served: what runs it isn't installed (pip install 'handful[transformers]')")
        return [settings().model], precisions
    return [settings().model, encoder], precisions.but_not_int8(encoder, settings().precision)


def _allowed(host: str, names: list[str]) -> frozenset[str] | None:
    """Host names to answer to: on a loopback address only its own, else any unless some are named."""
    from handful.server.host_guard import LOOPBACK_NAMES, host_name, is_loopback

    if is_loopback(host) or names:
        return LOOPBACK_NAMES | {host.lower()} | {host_name(name) for name in names}
    return None


def _state(asked: ServeOptions) -> "ServerState":
    from handful.config import settings
    from handful.learn.encoded import NamedEncoder
    from handful.server.limits import Limits
    from handful.server.model_host import ModelHost, load_registered
    from handful.server.nlp_sources import load_any, purpose_of
    from handful.server.served_model import ServedModel
    from handful.server.sources import check_precisions, registries, task_of
    from handful.server.state import ServerState

    allowed, device = _allowed(asked.host, asked.allow_host or []), asked.device
    models, precisions = _models(asked.model or [], _precisions(asked.precision or []))

    def load_model(name: str, model: str) -> ServedModel:
        # In the loading thread: it imports torch, which takes seconds.
        return load_any(model, precisions.of(name), device)

    @functools.cache  # classifiers that read the same encoder share it, and one that is read again finds it
    def load_encoder(name: str) -> NamedEncoder:
        from handful.local.encoder import load_encoder as load

        return load(name, device=device)

    for file in asked.task or []:
        _check_task_name(str(file))
    tasks = [task_of(str(file), load_encoder) for file in asked.task or []]
    kv_bytes = settings().kv_memory_mb * 2**20
    served_models, served_tasks = registries(models, tasks, load_model, purpose_of, kv_bytes)
    check_precisions(precisions, served_models, settings().precision)
    limits, folder = Limits.from_settings(settings()), settings().cache_folder
    host = ModelHost(
        lambda model, token: load_registered(model, token, (precisions.of_all, device), folder),
        purpose_of,
        folder,
        settings().max_upload_mb << 20,
        kv_bytes,
        precisions.of_all or settings().precision,
    )
    served_models.room.budget_bytes = settings().model_memory_mb * 2**20
    return ServerState(models=served_models, tasks=served_tasks, limits=limits, allowed_hosts=allowed, host=host)


def _check_task_name(spec: str) -> None:
    """`NAME=FILE` of a file that is there is meant so, whatever the name is. Raises InvalidInputError."""
    from handful.protocol.names import check_name

    name, equals, place = spec.partition("=")
    if equals and Path(place).expanduser().exists() and not Path(spec).exists():
        check_name("task", name)


def _database(are_required: bool) -> "Database | None":
    """The database. Without one a server that asks for tokens doesn't start."""
    from handful.config import settings
    from handful.errors import StoreError
    from handful.store.migrate import open_database

    try:
        return open_database(settings().database_url)
    except StoreError as error:
        if are_required:
            raise
        _warn(f"usage is not kept. {error}")
        return None


def _over_database(database: "Database | None", are_required: bool) -> dict[str, Any]:
    """What of the state is in the database: tokens and usage, and answers to be given again."""
    from handful.config import settings
    from handful.server.auth_state import Access
    from handful.server.response_cache import ResponseCache
    from handful.store.responses import CachedResponses
    from handful.store.tokens import Tokens

    if database is None:
        return {"responses": ResponseCache.from_settings(settings(), None)}
    if are_required and not Tokens(database).list():
        _warn("there is no token yet, so nobody can call; make one with: handful tokens create")
    return {
        "access": Access.over(database, tokens_required=are_required),
        "responses": ResponseCache.from_settings(settings(), CachedResponses(database)),
    }


def _warn(problem: str) -> None:
    print(f"warning: {problem}", file=sys.stderr)


def _announce(state: "ServerState", url: str) -> None:
    """Where it listens, what it serves, and a line to paste."""
    print(f"handful is listening on {url}")
    print(f"  models: {', '.join(state.models.names)}")
    names = [served.task.name for served in state.tasks]
    if names:
        print(f"  tasks:  {', '.join(names)}")
    print("Try it from another terminal:")
    curl = 'curl -H "x-wait-for-model: 1"'  # whoever pastes a line at once is answered, too
    if state.access.authenticator.is_required:
        print("  TOKEN=hf_...  # made by: handful tokens create")
        curl += ' -H "Authorization: Bearer $TOKEN"'
    if names:
        first = next(iter(state.tasks)).task
        fields = ", ".join(f'"{name}": "..."' for name in first.variables)
        query = '"I laughed all the way through."' if len(first.variables) == 1 else f"{{{fields}}}"
        print(f"""  {curl} {url}/tasks/{first.name} -d '{{"inputs": {query}}}'""")
    model = state.models.names[0]
    print(f"  {curl} {url}/models/{model} -d '{_example(state.models.entry(model).task)}'")
    sys.stdout.flush()


def _example(task: str | None) -> str:
    """A body for a model of this task; a language model continues a prompt."""
    from json import dumps

    from handful.protocol.nlp_tasks import EXAMPLES

    prompt = "English: cheese\nFrench: fromage\n###\nEnglish: bread\nFrench:"
    default: dict[str, object] = {"inputs": prompt, "parameters": {"end_sequence": "###"}}
    return dumps(next((example for named, example in EXAMPLES.items() if named == task), default))


def _say_ready(entry: "ModelEntry") -> None:
    """One line for each model that has loaded."""
    if entry.model is not None:
        info = entry.model.info
        how = f"{info.architecture}, {info.engine} engine, {info.precision} on {info.device}"
        context = f", context {info.context_length}" if info.context_length else ""
        print(f"ready: {entry.source.name} ({how}{context})", flush=True)

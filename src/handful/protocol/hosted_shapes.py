"""What the routes about models answer, and those of health and usage, with an example of each."""

from typing import Literal

from handful.protocol.hosted import status_answer
from handful.protocol.shapes import Example, Shape

State = Literal["loading", "failed", "ready", "stalled", "dead", "unloaded"]
Device = Literal["cpu", "gpu"]


class Download(Shape):
    """How far a download is."""

    bytes: int
    of: int


class ModelStatus(Shape):
    """Whether a model is in memory, or how far on its way."""

    loaded: bool
    state: Literal["Loaded", "Loadable", "TooBig"]
    compute_type: Device
    framework: Literal["handful", "transformers"]
    status: State
    pinned: bool
    estimated_time: float | None = None
    download: Download | None = None


class Pinned(Shape):
    """A model that stays in memory."""

    model_id: str
    compute_type: Device
    replicas: Literal[1]


class PinnedNow(Shape):
    """The pinned models, and how many may be."""

    pinned_models: list[Pinned]
    allowed_pinned_models: int


class PinnedDone(Shape):
    """The pinned models from now on."""

    ok: str
    pinned_models: list[Pinned]


class Deployed(Shape):
    """A served model as older clients list them."""

    model_id: str
    task: str | None
    sha: str
    compute_type: str


class RegisteredModel(Shape):
    """A model that an account registered. `hub_id` and `revision` are for models of the Hub."""

    name: str
    private: bool
    owner: str
    source: Literal["hub", "path", "upload"]
    hub_id: str | None
    revision: str | None
    created_at: int
    state: State


class UploadedFile(Shape):
    """A file that arrived."""

    name: str
    file: str
    bytes: int


class Health(Shape):
    """How the server is, and the state of each model that the caller sees."""

    status: Literal["ok", "failed", "ready", "draining", "not ready"]
    models: dict[str, State]


class ModelHealth(Shape):
    """How a model is."""

    status: Literal["ready", "not ready"]


class UsageToken(Shape):
    """A token, by what may be shown of it."""

    id: str
    name: str
    prefix: str


class Amounts(Shape):
    """What was used. `compute_time` is in seconds of wall time with the model."""

    requests: int
    input_characters: int
    prompt_tokens: int
    generated_tokens: int
    compute_time: float


class UsageOfDay(Amounts):
    """What a token used of a model on a day (in UTC)."""

    day: str
    model: str
    token: UsageToken | None


class UsageAnswer(Shape):
    """What an account's tokens used."""

    account: str | None
    since: str
    usage: list[UsageOfDay]
    total: Amounts
    unwritten_requests: int


STATUS: Example = status_answer(True, False, "cpu", "native") | {"status": "ready", "pinned": False}
PINNED: Example = [{"model_id": "default", "compute_type": "cpu", "replicas": 1}]
_USED = {"requests": 3, "input_characters": 96, "prompt_tokens": 24, "generated_tokens": 60, "compute_time": 0.412}
_TOKEN = {"id": "f3a1", "name": "laptop", "prefix": "hf_abc"}
USAGE: Example = {
    "account": "ada",
    "since": "2026-01-01",
    "usage": [{"day": "2026-01-02", "model": "default", "token": _TOKEN} | _USED],
    "total": _USED,
    "unwritten_requests": 0,
}
REGISTERED: Example = {
    "name": "ada/mine",
    "private": True,
    "owner": "ada",
    "source": "hub",
    "hub_id": "ada/mine",
    "revision": "main",
    "created_at": 1_700_000_000,
    "state": "unloaded",
}

"""What all routes of a server share, made once and handed to `create_app`."""

from dataclasses import dataclass, field

from starlette.requests import Request

from handful.server.attend import Watch
from handful.server.auth_state import Access
from handful.server.drain import Drain
from handful.server.limits import Limits
from handful.server.model_host import ModelHost
from handful.server.registry import ModelRegistry
from handful.server.response_cache import ResponseCache
from handful.server.task_registry import TaskRegistry


@dataclass(frozen=True, slots=True, kw_only=True)
class ServerState:
    """Models, tasks, limits, the drain, who may call, kept answers.

    `allowed_hosts` None: any Host header is answered.
    """

    models: ModelRegistry
    tasks: TaskRegistry
    limits: Limits = field(default_factory=Limits)
    drain: Drain = field(default_factory=Drain)
    allowed_hosts: frozenset[str] | None = None
    access: Access = field(default_factory=Access)
    responses: ResponseCache = field(default_factory=ResponseCache)
    host: ModelHost | None = None

    def watch(self, request: Request) -> Watch:
        """What ends the work for a request early; to be made when its body has been read."""
        return Watch(request.receive, self.drain, self.limits.request_timeout_s)


def state_of(request: Request) -> ServerState:
    """The state of the server that received a request."""
    state: ServerState = request.app.state.server
    return state

"""What a request says of a model that isn't loaded, and of kept answers: options of its body, and headers.

    x-wait-for-model: 1    wait for the model, as `wait_for_model` does    (else a moment, then 503)
    x-load-model: 0        don't have it loaded, as `dont_load_model` does
    x-use-cache: 0         compute anew, as `use_cache: false` does

The headers hold on every route that asks a model. One that says neither yes nor no is refused, needed or not.
"""

from starlette.requests import Request

from handful.backend import AsyncBackend
from handful.errors import InvalidParameterError
from handful.protocol.text_generation import TextGenerationOptions
from handful.server.attend import Watch, attend
from handful.server.registry import HELD_NOT_READY_S
from handful.server.state import state_of

WAIT, LOAD, CACHE = "x-wait-for-model", "x-load-model", "x-use-cache"
_NAMES = {name.encode(): name for name in (WAIT, LOAD, CACHE)}
_SWITCH = {"1": True, "true": True, "0": False, "false": False}
_SAYS_NOTHING = TextGenerationOptions()


async def model_of(
    request: Request, name: str, watch: Watch, options: TextGenerationOptions = _SAYS_NOTHING
) -> AsyncBackend:
    """The model `name` for a request, waited for and loaded as the request says.

    Raises InvalidParameterError (a header), NotFoundError, NotReadyError, EngineError.
    """
    said = switches(request)
    state = state_of(request)
    backend = state.models.ready(name)
    if backend is not None:
        return backend
    wait_s = state.limits.request_timeout_s if options.wait_for_model or said.get(WAIT) else HELD_NOT_READY_S
    may_load = not options.dont_load_model and said.get(LOAD, True)
    return await attend(state.models.backend(name, wait_s=wait_s, may_load=may_load), watch)


def switches(request: Request) -> dict[str, bool]:
    """What the headers say that are there: 1 and true, 0 and false. Raises InvalidParameterError."""
    found: dict[str, bool] = {}
    for raw, value in request.scope["headers"]:
        name = _NAMES.get(raw)
        if name is None or name in found:
            continue
        said = value.decode("latin-1").strip().lower()
        if said not in _SWITCH:
            raise InvalidParameterError(name, "must be true or false.", fix="Leave it out to let the server choose.")
        found[name] = _SWITCH[said]
    return found

"""What a route does to answer from the cache: `slot_for` once the model is known, `find` before the work, `keep` after.

An answer is found again by whoever sent exactly the same to exactly the same: the key is a SHA-256 of handful's
version, the caller's account, the model (its name, revision, files, precision, device and all else that `ModelInfo`
has) and all that the request says. Accounts never share answers; callers without a token share theirs with one another.

Kept and given again is what always has the same answer: greedy, seeded, scored, embedded. Whoever asks for it by
`options.use_cache` or the header `x-use-cache` gets it for sampled texts too, and whoever refuses it always gets new
work, of which nothing is kept. Streams and texts that `max_time` ended are never kept.
"""

import hashlib
import importlib.metadata
import json
import re
from collections.abc import Callable, Iterable, Mapping
from dataclasses import asdict, dataclass
from functools import cache
from typing import Any

from starlette.requests import Request

from handful.server.auth import caller_of
from handful.server.headers import exposed
from handful.server.model_wish import CACHE, switches
from handful.server.response_cache import ResponseCache
from handful.server.state import state_of
from handful.server.usage_tally import current_tally
from handful.store.usage import Usage
from handful.types import Generation, GenerationParameters, ModelInfo

_TIME = re.compile(r"[0-9]{1,9}\.[0-9]{3}")
_FORM = "value and compute_time"
version = cache(importlib.metadata.version)  # it reads files each time


@dataclass(frozen=True, slots=True)
class Kept:
    """An answer as JSON-ready values, and the `x-compute-time` that it had when it was computed."""

    value: Any
    compute_time: str


@dataclass(frozen=True, slots=True)
class Slot:
    """Where the answer to a request is kept; nowhere where it mustn't be."""

    cache: ResponseCache
    key: str | None
    model: str

    def find(self) -> Kept | None:
        """The answer that was kept, or None. One that is found counts as a request."""
        kept = None if self.key is None else _kept(self.cache.find(self.key))
        tally = current_tally.get()
        if kept is not None and tally is not None:
            tally.add(self.model, Usage())
        return kept

    def keep(self, value: Any, headers: Mapping[str, str]) -> None:
        """Keep the answer, which had these headers."""
        if self.key is not None:
            self.cache.keep(self.key, {"value": value, "compute_time": headers["x-compute-time"]})


def slot_for(
    request: Request,
    model: str,
    info: ModelInfo,
    asked: Callable[[], Mapping[str, Any]],
    *,
    is_wanted: bool | None,
    is_same: bool,
) -> Slot:
    """The slot of a request to a model.

    `asked` gives all that the request says, as JSON-ready values, where that is needed. `is_wanted` is what it says of
    the cache itself, `is_same` whether the same request always has the same answer. Raises InvalidParameterError for a
    header that can't be read.
    """
    state = state_of(request)
    wanted = switches(request).get(CACHE) if is_wanted is None else is_wanted
    is_used = is_same if wanted is None else wanted
    if not (is_used and state.responses.is_on):
        return Slot(state.responses, None, model)
    served = {"served as": model, **asdict(info)}
    return Slot(state.responses, key_of(caller_of(request.scope).account, served, asked()), model)


def key_of(account: str | None, model: Mapping[str, Any], asked: Mapping[str, Any]) -> str:
    """The key of an answer. None is the account of callers without a token."""
    everything = {"handful": version("handful"), "account": account, "model": model, "asked": asked, "form": _FORM}
    return hashlib.sha256(json.dumps(everything, sort_keys=True).encode()).hexdigest()


def cache_headers(headers: dict[str, str], kept: Kept) -> dict[str, str]:
    """The headers of an answer that was found: those of the model, and, as the hosted API told it, the time that was
    needed once and isn't again."""
    return exposed(headers | {"x-compute-type": "cache", "x-compute-time": kept.compute_time})


def always_same(parameters: GenerationParameters) -> bool:
    """Whether a generation with these parameters can be told in advance: greedy, or sampled with a seed."""
    return parameters.temperature == 0.0 or parameters.seed is not None


def are_whole(generations: Iterable[Generation]) -> bool:
    """Whether the clock had no part in the texts."""
    return all(made.finish_reason != "max_time" for each in generations for made in each.completions)


def _kept(found: Any) -> Kept | None:
    """What lies under a key, if it is an answer with its time: who writes to the database may have changed it."""
    if not isinstance(found, dict) or "value" not in found or not _TIME.fullmatch(str(found.get("compute_time"))):
        return None
    return Kept(found["value"], found["compute_time"])

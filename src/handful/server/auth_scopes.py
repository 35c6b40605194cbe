"""What a request needs to be let in, by its method and path alone; what isn't listed needs the most.

The path is `scope["path"]`, the very string that the router matches; never a URL that was put together from headers.
"""

import re

from starlette.types import Scope

from handful.store.tokens import MANAGE, PREDICT

OPEN_PATHS = frozenset({"/health", "/ready"})
"""Answered without a token, for GET and HEAD: probes have none, and the answers name nothing but models' states."""

_MODEL = r"/models/[^/]+(/[^/]+)?"
_OPENAI = r"/v1/(completions|chat/completions|embeddings)"
_TGI = r"/generate|/generate_stream|/tokenize|/chat_tokenize"
_BACKEND = rf"{_MODEL}/backend/(generate|score|embed|count_tokens)"
_BULK = re.compile(r"/bulk/stream/[^/]+/[^/]+(/[^/]+)?")
_PREDICTIONS = re.compile(
    rf"({_MODEL})?({_OPENAI}|{_TGI})|{_MODEL}(/pipeline/[^/]+)?|/pipeline/[^/]+/[^/]+(/[^/]+)?|/|/v1|/tasks/[^/]+"
    rf"|{_BACKEND}"
)


def is_open(scope: Scope) -> bool:
    """Whether a request is answered to anybody; or, of a websocket, shows its token in its first frame (bulk.py)."""
    if scope["type"] == "websocket":
        return bool(_BULK.fullmatch(scope["path"]))
    return scope["type"] == "http" and scope["method"] in ("GET", "HEAD") and scope["path"] in OPEN_PATHS


def needed_scope(scope: Scope) -> str:
    """The scope that a token needs: reading and predicting is `predict`, everything else `manage`."""
    if scope["type"] == "websocket" or scope["method"] in ("GET", "HEAD"):
        return PREDICT
    is_prediction = scope["method"] == "POST" and _PREDICTIONS.fullmatch(scope["path"])
    return PREDICT if is_prediction else MANAGE

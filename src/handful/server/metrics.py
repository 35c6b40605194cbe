"""GET /metrics: what Prometheus scrapes, and the gauges that routers in front of engines read.

Labels are routes' patterns, methods, statuses and models' states, so their number is bounded; never a path, a text, a
token, or a model's name (which may be private). Figures of engines are sums over all models, read when scraped:
nothing is written down while an engine works.

The gauges are told under three names: handful's own, vLLM's (`vllm:...`) and TGI's (`tgi_...`).
"""

import time
from collections import Counter as Count
from collections.abc import Callable, Iterator
from typing import Any

from fastapi import APIRouter
from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, ProcessCollector
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, Metric
from prometheus_client.exposition import choose_encoder
from prometheus_client.registry import Collector
from starlette.requests import Request
from starlette.responses import PlainTextResponse, Response
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from handful.server.errors import STATUS_CLIENT_LEFT
from handful.server.registry import ModelRegistry
from handful.server.served_model import EngineStats

router = APIRouter(tags=["health"])
METHODS = frozenset({"GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"})
_SECONDS = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60, 120, 300, 600)

_GAUGES: tuple[tuple[str, str, Callable[[EngineStats], float]], ...] = (
    ("handful_requests_waiting", "Completions that wait for their turn.", lambda s: s.num_waiting),
    ("vllm:num_requests_waiting", "The same, as vLLM names it.", lambda s: s.num_waiting),
    ("tgi_queue_size", "The same, as TGI names it.", lambda s: s.num_waiting),
    ("handful_requests_running", "Completions that are computed side by side.", lambda s: s.num_running),
    ("vllm:num_requests_running", "The same, as vLLM names it.", lambda s: s.num_running),
    ("tgi_batch_current_size", "The same, as TGI names it.", lambda s: s.num_running),
    ("handful_kv_slots", "Tokens that the memory for keys and values has room for.", lambda s: s.num_slots),
    ("handful_kv_slots_held", "Of these, held by what runs and is pinned.", lambda s: s.num_held_slots),
    ("handful_kv_slots_free", "Of these, without content. The rest is kept for reuse.", lambda s: s.num_free_slots),
)
_KV_SHARE = ("handful_kv_usage", "vllm:kv_cache_usage_perc", "vllm:gpu_cache_usage_perc")
"""vLLM has had two names for it; routers read the one or the other."""
_COUNTERS: tuple[tuple[str, str, Callable[[EngineStats], float]], ...] = (
    (
        "handful_prompt_tokens",
        "Prompt tokens of requests that ended, cached ones included.",
        lambda s: s.num_prompt_tokens,
    ),
    ("handful_cached_prompt_tokens", "Of these, read from the cache.", lambda s: s.num_cached_tokens),
    ("handful_generated_tokens", "Tokens generated.", lambda s: s.num_generated_tokens),
    ("handful_drafted_tokens", "Tokens guessed from the prompt and run ahead.", lambda s: s.num_drafted_tokens),
    ("handful_accepted_tokens", "Of these, right: a step saved for each.", lambda s: s.num_accepted_tokens),
    ("handful_forced_tokens", "Tokens of choices that had to come, asked of no model.", lambda s: s.num_forced_tokens),
    ("handful_engine_steps", "Steps of the engines.", lambda s: s.num_steps),
    (
        "handful_engine_requests_finished",
        "Completions, scores and embeddings that were finished.",
        lambda s: s.num_finished,
    ),
    ("handful_engine_requests_failed", "Those that failed or were given up.", lambda s: s.num_failed),
)


class EngineCollector(Collector):
    """Asks the engines when Prometheus asks."""

    def __init__(self, models: ModelRegistry) -> None:
        self._models = models

    def collect(self) -> Iterator[Metric]:
        """All figures of the engines, summed."""
        loaded = [model for name in self._models.names if (model := self._models.entry(name).model) is not None]
        stats = [model.stats() for model in loaded]
        for name, text, read in _GAUGES:
            yield GaugeMetricFamily(name, text, value=sum(map(read, stats)))
        for name, text, read in _COUNTERS:
            yield CounterMetricFamily(name, text, value=sum(map(read, stats)))
        num_slots = sum(each.num_slots for each in stats)
        used = sum(each.num_held_slots for each in stats) / num_slots if num_slots else 0.0
        for name in _KV_SHARE:
            yield GaugeMetricFamily(name, "Held share of the memory for keys and values, 0 to 1.", value=used)
        states = GaugeMetricFamily("handful_models", "Models by their state.", labels=["state"])
        for state, number in Count(self._models.states().values()).items():
            states.add_metric([state], number)
        yield states


class Metrics:
    """The figures of one server."""

    def __init__(self, models: ModelRegistry) -> None:
        self.registry = CollectorRegistry()
        ProcessCollector(registry=self.registry)
        self.registry.register(EngineCollector(models))
        labels = ("route", "method")
        self.requests = Counter("handful_requests", "Requests answered.", (*labels, "status"), registry=self.registry)
        self.seconds = Histogram(
            "handful_request_seconds",
            "From a request's arrival to the end of its answer.",
            labels,
            buckets=_SECONDS,
            registry=self.registry,
        )
        self.first_byte_seconds = Histogram(
            "handful_first_byte_seconds",
            "From a request's arrival to the start of its answer; of a stream, to its first event.",
            labels,
            buckets=_SECONDS,
            registry=self.registry,
        )
        self.in_progress = Gauge("handful_requests_in_progress", "Requests being answered.", registry=self.registry)
        self._found: dict[tuple[str, str, int], tuple[Counter, Histogram, Histogram]] = {}

    def of(self, route: str, method: str, status: int) -> tuple[Counter, Histogram, Histogram]:
        """Where to count a request, note its seconds, and those to its first byte. There are so many as routes,
        methods and statuses let be, so they are kept."""
        key = route, method, status
        found = self._found.get(key)
        if found is None:
            labels = route, method
            counter = self.requests.labels(*labels, str(status))
            found = counter, self.seconds.labels(*labels), self.first_byte_seconds.labels(*labels)
            self._found[key] = found
        return found


class MetricsGate:
    """ASGI middleware that counts and times every request. It stands outside all others, which set the status."""

    def __init__(self, app: ASGIApp, metrics: Metrics) -> None:
        self._app, self._metrics = app, metrics

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one request."""
        if scope["type"] != "http":
            return await self._app(scope, receive, send)
        status, started, first_byte_s = STATUS_CLIENT_LEFT, time.perf_counter(), None

        async def watched(message: Message) -> None:
            nonlocal status, first_byte_s
            if message["type"] == "http.response.start":
                status, first_byte_s = message["status"], time.perf_counter() - started
            await send(message)

        self._metrics.in_progress.inc()
        try:
            await self._app(scope, receive, watched)
        finally:
            self._metrics.in_progress.dec()
            self._note(scope, status, time.perf_counter() - started, first_byte_s)
        return None

    def _note(self, scope: Scope, status: int, seconds: float, first_byte_s: float | None) -> None:
        route: Any = getattr(scope.get("route"), "path", "unmatched")
        method = scope["method"] if scope["method"] in METHODS else "other"
        number, whole, first_byte = self._metrics.of(route, method, status)
        number.inc()
        whole.observe(seconds)
        if first_byte_s is not None:
            first_byte.observe(first_byte_s)


@router.get("/metrics", summary="Figures for Prometheus", response_class=PlainTextResponse)
async def metrics(request: Request) -> Response:
    """All figures, in Prometheus' text format or OpenMetrics, as the client accepts."""
    encode, content_type = choose_encoder(request.headers.get("accept", ""))
    made: Metrics = request.app.state.metrics
    return Response(encode(made.registry), headers={"content-type": content_type})

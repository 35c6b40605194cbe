"""GET /metrics: what is counted, under which names, and that nothing of a request becomes a label."""

import json

import pytest
from prometheus_client.parser import text_string_to_metric_families

from handful.types import GenerationParameters
from tests.unit.server.serving import FakeModel, client_of, run, state_with

BODY = json.dumps({"inputs": "canary-text", "parameters": {"max_new_tokens": 1}})


def figures(text: str) -> dict[tuple[str, frozenset[tuple[str, str]]], float]:
    return {
        (sample.name, frozenset(sample.labels.items())): sample.value
        for family in text_string_to_metric_families(text)
        for sample in family.samples
    }


def scrape(model: FakeModel, *requests: tuple[str, str]) -> str:
    async def check() -> str:
        async with client_of(state_with(model)) as client:
            for method, path in requests:
                headers = {"authorization": "Bearer canary-token"}
                await client.request(method, path, content=BODY if method == "POST" else None, headers=headers)
            return (await client.get("/metrics")).text

    return run(check())


def test_requests_are_counted_by_route_method_and_status() -> None:
    found = figures(scrape(FakeModel(), ("POST", "/models/fake"), ("POST", "/models/fake"), ("POST", "/models/nope")))
    route = {("route", "/models/{name}"), ("method", "POST")}
    assert found["handful_requests_total", frozenset({*route, ("status", "200")})] == 2
    assert found["handful_requests_total", frozenset({*route, ("status", "404")})] == 1
    assert found["handful_request_seconds_count", frozenset(route)] == 3
    assert found["handful_first_byte_seconds_count", frozenset(route)] == 3


def test_nothing_of_a_request_is_a_label() -> None:
    paths = ["/canary-path", "/models/canary-model", "/models/fake?key=canary-query", "/v1/models/canary-model"]
    text = scrape(FakeModel(), *[(method, path) for path in paths for method in ("POST", "GET", "CANARY")])
    assert "canary" not in text.lower()
    assert 'route="unmatched"' in text
    assert 'method="other"' in text


def test_the_number_of_series_does_not_grow_with_paths() -> None:
    few = scrape(FakeModel(), ("GET", "/a"))
    many = scrape(FakeModel(), *[("GET", f"/a{i}") for i in range(50)])
    assert len(few.split("\n")) == len(many.split("\n"))


def test_an_unexpected_fault_is_counted_as_500() -> None:
    assert 'status="500"' in scrape(FakeModel(error=ZeroDivisionError()), ("POST", "/models/fake"))


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("handful_requests_waiting", 6),
        ("vllm:num_requests_waiting", 6),
        ("tgi_queue_size", 6),
        ("handful_requests_running", 4),
        ("vllm:num_requests_running", 4),
        ("tgi_batch_current_size", 4),
        ("handful_kv_slots", 2000),
        ("handful_kv_slots_held", 500),
        ("handful_kv_slots_free", 1200),
        ("vllm:gpu_cache_usage_perc", 0.25),
        ("vllm:kv_cache_usage_perc", 0.25),
        ("handful_kv_usage", 0.25),
        ("handful_prompt_tokens_total", 20),
        ("handful_cached_prompt_tokens_total", 18),
        ("handful_generated_tokens_total", 14),
        ("handful_drafted_tokens_total", 12),
        ("handful_accepted_tokens_total", 8),
        ("handful_forced_tokens_total", 10),
    ],
)
def test_an_engines_figures_are_summed_over_the_models(name: str, value: float) -> None:
    model = FakeModel()  # it is served under two names
    stats = model.statistics
    stats.num_waiting, stats.num_running, stats.num_held_slots, stats.num_free_slots = 3, 2, 250, 600
    stats.num_prompt_tokens, stats.num_cached_tokens, stats.num_generated_tokens = 10, 9, 7
    stats.num_drafted_tokens, stats.num_accepted_tokens, stats.num_forced_tokens = 6, 4, 5
    assert figures(scrape(model))[name, frozenset()] == value


def test_models_are_counted_by_state() -> None:
    assert figures(scrape(FakeModel()))["handful_models", frozenset({("state", "ready")})] == 2


def test_figures_are_there_while_draining() -> None:
    async def check() -> None:
        state = state_with(FakeModel())
        async with client_of(state) as client:
            state.drain.is_draining = True
            assert (await client.get("/metrics")).status_code == 200

    run(check())


def test_open_metrics_is_spoken_where_it_is_accepted() -> None:
    async def check() -> None:
        async with client_of(state_with(FakeModel())) as client:
            response = await client.get("/metrics", headers={"accept": "application/openmetrics-text"})
            assert response.headers["content-type"].startswith("application/openmetrics-text")
            assert response.text.endswith("# EOF\n")

    run(check())


def test_the_engine_counts_what_it_reads_and_generates() -> None:
    from handful.config import Settings
    from handful.local import load
    from tests.unit.model.tiny_models import checkpoint

    model = load(str(checkpoint("llama")), configuration=Settings(precision="float32", kv_memory_mb=16))
    for _ in range(2):
        model.generate(["the review is positive"], GenerationParameters(max_new_tokens=3, ignore_eos=True))
    stats, length = model.stats(), model.count_tokens("the review is positive")
    assert (stats.num_generated_tokens, stats.num_prompt_tokens) == (6, 2 * length)
    assert (stats.num_cached_tokens, stats.num_held_slots) == (length - 1, 0)
    model.pin("the review is positive")
    assert model.stats().num_held_slots == length
    model.close()

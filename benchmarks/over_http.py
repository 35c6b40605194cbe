"""W8: W1 through the server, 64 connections, against the same prompts in process.

Starts `handful serve` on a free port and loads the same model in this process. Each round then sends all requests by a
light load generator (`light_load.py`), by `handful.AsyncClient`, and in process, in turns; the first round warms up. As
in W1 each round of each way has examples and queries of its own, so that nothing is left of an earlier one: the prefix
is computed within the time measured. In process requests come 64 at a time: in groups, each of which waits for all of
the last one, and one for one, as connections do.

Beside requests a second: processor time a request of the server's event loop, of its other threads (the engine's) and
of the client (Linux's /proc; unlike the rates it says little about what else ran), and requests for each step of the
engine, which are 8 when all 64 go through their 8 tokens together. The last line printed is one JSON document.

    python benchmarks/over_http.py [--route tasks]      (a label of each text by POST /tasks/{name}, not 8 tokens)
"""

import argparse
import asyncio
import json
import os
import re
import statistics
import subprocess
import sys
import threading
import time
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

import httpx

import light_load
from environment import PRECISIONS, describe, open_model
from handful import AsyncClient, Task
from handful.local import LocalModel
from handful.task.fit import Fitter
from handful.task.predict import apredict, predict
from handful.types import GenerationParameters
from shapes import folder_of
from workload import prompts as make_prompts
from workload import reviews

NUM_CONNECTIONS = 64
TASK = Path(__file__).parent.parent / "examples" / "sentiment.yaml"
PARAMETERS = GenerationParameters(max_new_tokens=8)
Ask = Callable[[], Awaitable[None] | None]


@dataclass
class Server:
    """A server process, and how much processor time it has used."""

    url: str
    pid: int

    def cpu_s(self) -> tuple[float, float]:
        """Seconds of the thread that runs the event loop, and of all others."""
        mine, others = 0.0, 0.0
        for folder in Path(f"/proc/{self.pid}/task").iterdir():
            seconds = int((folder / "schedstat").read_text().split()[0]) / 1e9
            if folder.name == str(self.pid):
                mine = seconds
            else:
                others += seconds
        return mine, others

    def num_steps(self) -> int:
        """Steps of the engine so far."""
        found = re.search(r"^handful_engine_steps_total ([\d.e+]+)$", httpx.get(f"{self.url}/metrics").text, re.M)
        assert found is not None
        return int(float(found[1]))


@dataclass
class Way:
    """One way to have all requests answered, and what its rounds took.

    `prepare` makes the requests of one variant of the workload; what it returns asks them.
    """

    prepare: Callable[[int], Ask]
    server: Server | None = None
    seconds: list[float] = field(default_factory=list)
    steps: list[int] = field(default_factory=list)
    cpu_s: list[tuple[float, float, float]] = field(default_factory=list)

    def round(self, variant: int, count_steps: Callable[[], int]) -> None:
        """Ask once, and write down what it took."""
        ask = self.prepare(variant)
        steps, cpu = count_steps(), (self._server_s(), time.process_time())
        started = time.perf_counter()
        waiting = ask()
        if waiting is not None:
            asyncio.run(_finish(waiting))
        self.seconds.append(time.perf_counter() - started)
        client_s = time.process_time() - cpu[1]
        loop_s, others_s = (after - before for after, before in zip(self._server_s(), cpu[0], strict=True))
        self.cpu_s.append((loop_s, others_s, client_s))
        self.steps.append(count_steps() - steps)

    def requests_per_s(self, num_requests: int) -> float:
        """Median of the rounds behind the first."""
        return round(num_requests / statistics.median(self.seconds[1:]), 1)

    def requests_per_step(self, num_requests: int) -> float:
        """The same."""
        return round(num_requests / statistics.median(self.steps[1:]), 2)

    def cpu_ms_per_request(self, num_requests: int) -> dict[str, float]:
        """Of the server's event loop, its other threads, and the client."""
        parts = zip(("event_loop", "other_threads", "client"), zip(*self.cpu_s[1:], strict=True), strict=True)
        return {name: round(1000 * statistics.median(values) / num_requests, 3) for name, values in parts}

    def _server_s(self) -> tuple[float, float]:
        return (0.0, 0.0) if self.server is None else self.server.cpu_s()


def main() -> None:
    """Time all ways in turns."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", default="default")
    parser.add_argument("--precision", default="auto", choices=PRECISIONS)
    parser.add_argument("--requests", type=int, default=256)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--route", choices=("models", "tasks"), default="models")
    arguments = parser.parse_args()
    with serving(arguments) as server:
        model = open_model(arguments.model, arguments.precision)
        found = describe(model, "W8 HTTP")
        ways = (to_generate if arguments.route == "models" else to_label)(server, model, arguments.requests)
        for number in range(arguments.rounds + 1):
            for place, way in enumerate(ways.values()):
                count_steps = server.num_steps if way.server else lambda: model.loop.stats().num_steps
                way.round(number * len(ways) + place, count_steps)
        model.close()
    found |= {"route": arguments.route, "connections": NUM_CONNECTIONS, "requests": arguments.requests}
    print(json.dumps(found | figures(ways, arguments.requests)))


def figures(ways: dict[str, Way], num_requests: int) -> dict[str, Any]:
    """What all ways took, and what share of the better rate in process is left over HTTP."""
    rates = {name: way.requests_per_s(num_requests) for name, way in ways.items()}
    served = {name: way for name, way in ways.items() if way.server is not None}
    in_process = max(rate for name, rate in rates.items() if name not in served)
    return {
        "rounds": len(next(iter(ways.values())).seconds) - 1,
        "requests_per_s": rates,
        "http_share": {name: round(rates[name] / in_process, 3) for name in served},
        "requests_per_step": {name: way.requests_per_step(num_requests) for name, way in ways.items()},
    } | {f"cpu_ms_per_request_{name}": way.cpu_ms_per_request(num_requests) for name, way in served.items()}


def to_generate(server: Server, model: LocalModel, num_requests: int) -> dict[str, Way]:
    """Eight tokens behind each prompt."""
    wire = {"parameters": {"max_new_tokens": 8, "return_full_text": False}}
    backend = model.asynchronous()

    def light(variant: int) -> Ask:
        bodies = [json.dumps({"inputs": prompt} | wire).encode() for prompt in make_prompts(num_requests, 32, variant)]
        return light_http(server, "/models/bench", bodies)

    def by_client(variant: int) -> Ask:
        prompts = make_prompts(num_requests, 32, variant)
        return by_one_client(
            server,
            lambda client: (partial(client.text_generation, it, model="bench", max_new_tokens=8) for it in prompts),
        )

    def one_for_one(variant: int) -> Ask:
        prompts = make_prompts(num_requests, 32, variant)
        return lambda: few_at_a_time(partial(backend.generate, prompt, PARAMETERS) for prompt in prompts)

    def in_groups(variant: int) -> Ask:
        return in_groups_of(make_prompts(num_requests, 32, variant), lambda some: model.generate(some, PARAMETERS))

    return ways_of(server, light, by_client, in_groups, one_for_one)


def to_label(server: Server, model: LocalModel, num_requests: int) -> dict[str, Way]:
    """The label of each text."""
    task = Task.load(TASK)
    backend, fitter = model.asynchronous(), Fitter(task, model.info.context_length)

    def light(variant: int) -> Ask:
        bodies = [json.dumps({"inputs": text}).encode() for text in reviews(num_requests, variant)]
        return light_http(server, f"/tasks/{task.name}", bodies)

    def by_client(variant: int) -> Ask:
        texts = reviews(num_requests, variant)
        return by_one_client(server, lambda client: (partial(client.predict, task.name, text) for text in texts))

    def one_for_one(variant: int) -> Ask:
        texts = reviews(num_requests, variant)
        return lambda: few_at_a_time(partial(apredict, task, backend, text, fitter=fitter) for text in texts)

    def in_groups(variant: int) -> Ask:
        return in_groups_of(reviews(num_requests, variant), lambda some: predict(task, model, some))

    return ways_of(server, light, by_client, in_groups, one_for_one)


def light_http(server: Server, path: str, bodies: list[bytes]) -> Ask:
    """All bodies by the light load generator."""
    requests = [light_load.post(server.url, path, body) for body in bodies]
    return lambda: light_load.ask_all(server.url, requests, NUM_CONNECTIONS)


def by_one_client(server: Server, calls: Callable[[AsyncClient], Iterator[Callable[[], Awaitable[Any]]]]) -> Ask:
    """All calls over one `AsyncClient`."""

    async def ask() -> None:
        async with AsyncClient(server.url) as client:
            await few_at_a_time(calls(client))

    return ask


def in_groups_of(texts: list[str], answer: Callable[[list[str]], Any]) -> Ask:
    """All texts in this process, as many at once as there are connections."""

    def ask() -> None:
        for start in range(0, len(texts), NUM_CONNECTIONS):
            answer(texts[start : start + NUM_CONNECTIONS])

    return ask


def ways_of(
    server: Server,
    light: Callable[[int], Ask],
    by_client: Callable[[int], Ask],
    in_groups: Callable[[int], Ask],
    one_for_one: Callable[[int], Ask],
) -> dict[str, Way]:
    """The four ways, in the order in which they take turns."""
    return {
        "light_http": Way(light, server),
        "in_process_groups": Way(in_groups),
        "client_http": Way(by_client, server),
        "in_process_one_for_one": Way(one_for_one),
    }


async def _finish(waiting: Awaitable[None]) -> None:
    await waiting


async def few_at_a_time(asking: "Iterator[Callable[[], Awaitable[Any]]]") -> None:
    """All of them, as many side by side as there are connections."""

    async def ask_on() -> None:
        for ask in asking:
            await ask()

    await asyncio.gather(*(ask_on() for _ in range(NUM_CONNECTIONS)))


@contextmanager
def serving(arguments: argparse.Namespace) -> Iterator[Server]:
    """A server process with the model and the task."""
    command = [sys.executable, "-m", "handful.cli", "serve", "--port", "0", "--task", str(TASK)]
    command += ["--model", f"bench={folder_of(arguments.model)}", "--precision", arguments.precision]
    computed = {**os.environ, "HANDFUL_RESPONSE_CACHE_MB": "0"}  # or the rounds after the first would be remembered
    with subprocess.Popen(
        command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, env=computed
    ) as process:
        try:
            url = address(process)
            wait_until_ready(url)
            yield Server(url, process.pid)
        finally:
            process.terminate()


def wait_until_ready(url: str) -> None:
    """Until the model has loaded."""
    for _ in range(600):
        if httpx.get(f"{url}/ready").is_success:
            return
        time.sleep(0.1)
    raise SystemExit("the server did not load its model")


def address(process: "subprocess.Popen[str]") -> str:
    """Where the server says it listens."""
    if process.stdout is None:
        raise SystemExit("the server's output isn't read")
    for line in process.stdout:
        found = re.search(r"http://[\w.:\[\]-]+", line)
        if found:  # from here on somebody must read the log, or the server waits for its pipe to empty
            threading.Thread(target=process.stdout.read, daemon=True).start()
            return found[0].rstrip(".")
    raise SystemExit("the server did not start")


if __name__ == "__main__":
    main()

"""W8: W1 through the server, 64 connections, against the same prompts in process.

Starts `handful serve` on a free port and loads the same model in this process. Each round then sends all requests by a
light load generator (`light_load.py`), by `handful.AsyncClient`, and in process, in turns; the first round warms up, so
what is timed has seen its prefix, and no answers are kept. In process they come 64 at a time: in groups, each of which
waits for all of the last one, and one for one, as connections do.

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
    """One way to have all requests answered, and what its rounds took."""

    ask: Callable[[], Awaitable[None] | None]
    server: Server | None = None
    seconds: list[float] = field(default_factory=list)
    steps: list[int] = field(default_factory=list)
    cpu_s: list[tuple[float, float, float]] = field(default_factory=list)

    def round(self, count_steps: Callable[[], int]) -> None:
        """Ask once, and write down what it took."""
        steps, cpu = count_steps(), (self._server_s(), time.process_time())
        started = time.perf_counter()
        waiting = self.ask()
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
        for _ in range(arguments.rounds + 1):
            for way in ways.values():
                way.round(server.num_steps if way.server else lambda: model.loop.stats().num_steps)
        model.close()
    found |= {"route": arguments.route, "connections": NUM_CONNECTIONS, "requests": arguments.requests}
    print(json.dumps(found | figures(ways, arguments.requests)))


def figures(ways: dict[str, Way], num_requests: int) -> dict[str, Any]:
    """What all ways took, and what share of the rate in process (in groups) is left over HTTP."""
    rates = {name: way.requests_per_s(num_requests) for name, way in ways.items()}
    served = {name: way for name, way in ways.items() if way.server is not None}
    return {
        "rounds": len(next(iter(ways.values())).seconds) - 1,
        "requests_per_s": rates,
        "http_share": {name: round(rates[name] / rates["in_process_groups"], 3) for name in served},
        "requests_per_step": {name: way.requests_per_step(num_requests) for name, way in ways.items()},
    } | {f"cpu_ms_per_request_{name}": way.cpu_ms_per_request(num_requests) for name, way in served.items()}


def to_generate(server: Server, model: LocalModel, num_requests: int) -> dict[str, Way]:
    """Eight tokens behind each prompt."""
    prompts = make_prompts(num_requests, 32)
    wire = {"parameters": {"max_new_tokens": 8, "return_full_text": False}}
    bodies = [json.dumps({"inputs": prompt} | wire).encode() for prompt in prompts]
    requests = [light_load.post(server.url, "/models/bench", body) for body in bodies]
    backend = model.asynchronous()

    async def by_client() -> None:
        async with AsyncClient(server.url) as client:
            asking = (partial(client.text_generation, prompt, model="bench", max_new_tokens=8) for prompt in prompts)
            await few_at_a_time(asking)

    async def one_for_one() -> None:
        await few_at_a_time(partial(backend.generate, prompt, PARAMETERS) for prompt in prompts)

    def in_groups() -> None:
        for start in range(0, len(prompts), NUM_CONNECTIONS):
            model.generate(prompts[start : start + NUM_CONNECTIONS], PARAMETERS)

    return ways_of(server, requests, by_client, in_groups, one_for_one)


def to_label(server: Server, model: LocalModel, num_requests: int) -> dict[str, Way]:
    """The label of each text."""
    task, texts = Task.load(TASK), reviews(num_requests)
    bodies = [json.dumps({"inputs": text}).encode() for text in texts]
    requests = [light_load.post(server.url, f"/tasks/{task.name}", body) for body in bodies]
    backend, fitter = model.asynchronous(), Fitter(task, model.info.context_length)

    async def by_client() -> None:
        async with AsyncClient(server.url) as client:
            await few_at_a_time(partial(client.predict, task.name, text) for text in texts)

    async def one_for_one() -> None:
        await few_at_a_time(partial(apredict, task, backend, text, fitter=fitter) for text in texts)

    def in_groups() -> None:
        for start in range(0, len(texts), NUM_CONNECTIONS):
            predict(task, model, texts[start : start + NUM_CONNECTIONS])

    return ways_of(server, requests, by_client, in_groups, one_for_one)


def ways_of(
    server: Server,
    requests: list[bytes],
    by_client: Callable[[], Awaitable[None]],
    in_groups: Callable[[], None],
    one_for_one: Callable[[], Awaitable[None]],
) -> dict[str, Way]:
    """The four ways, in the order in which they take turns."""
    return {
        "light_http": Way(lambda: light_load.ask_all(server.url, requests, NUM_CONNECTIONS), server),
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

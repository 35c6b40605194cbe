"""Many connections for minutes, with callers that hang up: every request must get an answer, memory must stay.

    python benchmarks/load.py [--connections 200] [--seconds 120] [--warm-up 30] [--model default]

A server is started on a free port. Each connection asks again and again: completions and chats, whole and streamed,
and texts' log-probabilities. A share of the callers hangs up at a random moment. 429 and 503 are answers: the caller
waits and asks again. In the middle and at the end all callers leave, and what the idle server holds is counted: open
files, threads, tokens whose keys and values are in use. The exit status is 1 if a request that its caller waited for
was not answered, if one is still running when all callers are gone, if the server's memory after the warm-up grew, or
if it holds more at the end than in the middle (`held.py`).

The last line printed is one JSON document.
"""

import argparse
import asyncio
import json
import os
import random
import subprocess
import sys
import time
from collections import Counter
from dataclasses import asdict, dataclass, field
from typing import Any

import httpx

from environment import machine
from held import Held, grown, grown_memory, held_by, memory_mb, metric
from over_http import address
from shapes import folder_of

# Small enough that the warm-up fills them: what grows later is not a cache on its way to its limit.
ROOM = {"HANDFUL_KV_MEMORY_MB": "16", "HANDFUL_RESPONSE_CACHE_MB": "1"}
ANSWERED, REFUSED = (200,), (429, 503)
MOST_WAIT_S = 180  # a request without an answer for this long has none
IDLE_WAIT_S = 30
SETTLING_READINGS = 10  # a closed connection is seen a moment later
WORDS = ("fine", "dull", "lovely", "broken", "slow", "clever", "sad", "warm", "noisy", "brave", "film", "meal", "phone")


@dataclass
class Load:
    """What is asked of a server, and what came of it."""

    hang_up_share: float
    counted: Counter[str] = field(default_factory=Counter)
    problems: list[str] = field(default_factory=list)

    async def run(self, url: str, connections: int, seconds: float, part: int) -> None:
        """Ask over so many connections for so long; each part of a run asks for something else."""
        limits = httpx.Limits(max_connections=connections, max_keepalive_connections=connections)
        async with httpx.AsyncClient(base_url=url, limits=limits, timeout=MOST_WAIT_S) as client:
            await ready(client)
            ends = time.monotonic() + seconds
            draws = [random.Random(f"{part} {number}") for number in range(connections)]
            await asyncio.gather(*(self.connection(client, draw, ends) for draw in draws))

    async def connection(self, client: httpx.AsyncClient, draw: random.Random, ends: float) -> None:
        """One caller after the other, until it is time."""
        while time.monotonic() < ends:
            if draw.random() < self.hang_up_share:
                await self.hang_up(client, draw)
            else:
                await self.wait_for(client, draw)

    async def hang_up(self, client: httpx.AsyncClient, draw: random.Random) -> None:
        """A caller that leaves in the middle, if the answer isn't there by then."""
        try:
            async with asyncio.timeout(draw.uniform(0.0, 2.0)):
                await self.ask(client, draw)
        except TimeoutError:
            self.counted["hung_up"] += 1
        except httpx.HTTPError as error:
            self.failed(error)

    async def wait_for(self, client: httpx.AsyncClient, draw: random.Random) -> None:
        """A caller that waits: no answer is a failure."""
        try:
            async with asyncio.timeout(MOST_WAIT_S):
                await self.ask(client, draw)
        except (TimeoutError, httpx.HTTPError) as error:
            self.failed(error)

    async def ask(self, client: httpx.AsyncClient, draw: random.Random) -> None:
        """One request; an answer is whole, or a refusal that says so."""
        path, body = request(draw)
        async with client.stream("POST", path, json=body) as response:
            text = (await response.aread()).decode()
        if response.status_code in REFUSED:
            self.counted["refused"] += 1
            await asyncio.sleep(draw.uniform(0.5, 1.5))
        elif response.status_code not in ANSWERED or not is_whole(body, text):
            self.failed(f"{response.status_code} {path}: {text[-200:]}")
        else:
            self.counted["answered"] += 1

    def failed(self, why: object) -> None:
        """Count, and keep the first few for the report."""
        self.counted["failed"] += 1
        if len(self.problems) < 5:
            self.problems.append(f"{type(why).__name__}: {why}")


def request(draw: random.Random) -> tuple[str, dict[str, Any]]:
    """A route and its body, of texts that are hardly ever the same."""
    text = f"Review {draw.randrange(10**6)}: {' '.join(draw.choices(WORDS, k=draw.randint(3, 40)))}.\nSentiment:"
    common = {"model": "bench", "max_tokens": draw.randint(1, 16), "temperature": draw.choice((0, 1))}
    kind = draw.choice(("completion", "chat", "score"))
    if kind == "score":
        return "/v1/completions", {"model": "bench", "prompt": text, "echo": True, "logprobs": 1, "max_tokens": 0}
    body = common | {"stream": draw.random() < 0.5}
    if kind == "chat":
        return "/v1/chat/completions", body | {"messages": [{"role": "user", "content": text}]}
    return "/v1/completions", body | {"prompt": text}


def is_whole(body: dict[str, Any], text: str) -> bool:
    """Whether the answer is there to its end."""
    return text.rstrip().endswith("data: [DONE]") if body.get("stream") else "choices" in json.loads(text)


def main() -> int:
    """Start a server, load it, stop it."""
    arguments = parse()
    command = [sys.executable, "-m", "handful.cli", "serve", "--port", "0"]
    command += ["--model", f"bench={folder_of(arguments.model)}"]
    where = machine()
    with subprocess.Popen(
        command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, env=os.environ | ROOM
    ) as process:
        try:
            found = asyncio.run(run(address(process), process.pid, arguments))
        finally:
            process.terminate()
    failures = found["failures"]
    print(json.dumps({"workload": "load", "model": arguments.model, **found, **where}))
    return 1 if failures else 0


def parse() -> argparse.Namespace:
    """The options."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--connections", type=int, default=200)
    parser.add_argument("--seconds", type=float, default=120)
    parser.add_argument("--warm-up", type=float, default=30, help="seconds before memory is compared")
    parser.add_argument("--hang-up-share", type=float, default=0.3, help="callers that leave in the middle")
    parser.add_argument("--model", default="default")
    return parser.parse_args()


async def run(url: str, server: int, arguments: argparse.Namespace) -> dict[str, Any]:
    """Load the server in two halves, its memory looked at each second; after each see what it holds when it is idle."""
    start = time.monotonic()
    watching = asyncio.create_task(watched(server))
    load = Load(arguments.hang_up_share)
    idle, left = [], 0.0
    for number, seconds in enumerate((arguments.warm_up + arguments.seconds / 2, arguments.seconds / 2)):
        await load.run(url, arguments.connections, seconds, number)
        held, running = await when_idle(url, server)
        idle.append(held)
        left += running
    watching.cancel()
    memory, told = grown_memory([mb for moment, mb in await watching if moment >= start + arguments.warm_up])
    return {
        "connections": arguments.connections,
        "seconds": arguments.seconds,
        "requests": dict(load.counted),
        "memory_mb": memory,
        "idle": {"mid_run": asdict(idle[0]), "at_the_end": asdict(idle[1])},
        "left_running": left,
        "failures": [*failures(load, left), *told, *grown(idle[0], idle[1])],
    }


def failures(load: Load, left: float) -> list[str]:
    """What must not be of requests, in words."""
    found = list(load.problems)
    if not load.counted["answered"]:
        found.append("nothing was answered")
    if left:
        found.append(f"{left:.0f} requests still run or wait without a caller")
    return found


async def ready(client: httpx.AsyncClient) -> None:
    """Wait until the model is loaded."""
    while (await client.get("/ready")).status_code != 200:
        await asyncio.sleep(0.2)


async def when_idle(url: str, server: int) -> tuple[Held, float]:
    """What the server holds once it has had time to end all requests, and how many it still computes or holds."""
    running = ("vllm:num_requests_running", "vllm:num_requests_waiting")
    least: Held | None = None
    async with httpx.AsyncClient(base_url=url, timeout=MOST_WAIT_S) as client:
        deadline = time.monotonic() + IDLE_WAIT_S
        while (left := metric((await client.get("/metrics")).text, *running)) and time.monotonic() < deadline:
            await asyncio.sleep(0.2)
        for _ in range(SETTLING_READINGS):
            now = held_by(server, (await client.get("/metrics")).text)
            least = now if least is None else least.least(now)
            await asyncio.sleep(0.2)
    assert least is not None
    return least, left


async def watched(server: int) -> list[tuple[float, float]]:
    """Moments and the server's memory in MB, until cancelled."""
    seen: list[tuple[float, float]] = []
    try:
        while True:
            seen.append((time.monotonic(), memory_mb(server)))
            await asyncio.sleep(1)
    except asyncio.CancelledError:
        return seen


if __name__ == "__main__":
    sys.exit(main())

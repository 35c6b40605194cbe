"""The socket of a server."""

import asyncio
import io
import signal
import socket
import sys

import httpx
import pytest

from handful.errors import UserError
from handful.server.app import create_app
from handful.server.process import DrainingServer, bind, url_of
from tests.unit.server.serving import FakeModel, state_with


def test_port_zero_takes_a_free_port_and_the_url_says_which() -> None:
    with bind("127.0.0.1", 0) as listening:
        assert url_of(listening) == f"http://127.0.0.1:{listening.getsockname()[1]}"
        socket.create_connection(listening.getsockname()).close()


def test_an_idle_connection_is_given_up_by_its_client_first() -> None:
    state = state_with(FakeModel())
    server = DrainingServer(create_app(state), state, lambda: False)
    clients = [httpx.Limits().keepalive_expiry, 15.0]  # aiohttp's
    assert server.config.timeout_keep_alive > 2 * max(each or 0.0 for each in clients)


class Broken(io.StringIO):
    """A stream whose reader has left."""

    def write(self, text: str) -> int:
        raise BrokenPipeError


def test_a_signal_ends_it_though_nobody_reads_what_it_says(monkeypatch: pytest.MonkeyPatch) -> None:
    state = state_with(FakeModel())
    server = DrainingServer(create_app(state), state, lambda: False)

    async def end() -> None:
        with bind("127.0.0.1", 0) as listening:
            serving = asyncio.ensure_future(server._serve(sockets=[listening]))
            while not server.started:
                await asyncio.sleep(0.01)
            monkeypatch.setattr(sys, "stderr", Broken())
            server.handle_exit(signal.SIGTERM, None)
            await asyncio.wait_for(serving, 20)

    asyncio.run(end())


def test_a_port_in_use_is_one_clear_error() -> None:
    with bind("127.0.0.1", 0) as listening, pytest.raises(UserError, match="in use"):
        bind("127.0.0.1", listening.getsockname()[1])


def test_an_address_that_is_not_this_machines_is_one_clear_error() -> None:
    with pytest.raises(UserError, match="Can't listen"):
        bind("203.0.113.7", 0)

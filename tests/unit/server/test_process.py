"""The socket of a server."""

import socket

import pytest

from handful.errors import UserError
from handful.server.process import bind, url_of


def test_port_zero_takes_a_free_port_and_the_url_says_which() -> None:
    with bind("127.0.0.1", 0) as listening:
        assert url_of(listening) == f"http://127.0.0.1:{listening.getsockname()[1]}"
        socket.create_connection(listening.getsockname()).close()


def test_a_port_in_use_is_one_clear_error() -> None:
    with bind("127.0.0.1", 0) as listening, pytest.raises(UserError, match="in use"):
        bind("127.0.0.1", listening.getsockname()[1])


def test_an_address_that_is_not_this_machines_is_one_clear_error() -> None:
    with pytest.raises(UserError, match="Can't listen"):
        bind("203.0.113.7", 0)

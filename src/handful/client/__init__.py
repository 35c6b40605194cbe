"""The client: protocol logic once, without I/O; thin blocking and async drivers."""

from handful.client.awaiting import AsyncClient
from handful.client.blocking import Client
from handful.client.remote import connect

__all__ = ["AsyncClient", "Client", "connect"]

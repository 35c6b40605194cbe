"""Sends with httpx: over TLS, through a proxy, or by a transport of the caller's."""

from collections.abc import AsyncGenerator

import httpx

from handful.client.exchange import Answer, Call, Failure
from handful.client.transport import Endpoint, answer_of, request_options


class HttpxSender:
    """See `Sender`."""

    def __init__(self, endpoint: Endpoint, transport: httpx.AsyncBaseTransport | None = None) -> None:
        self._endpoint = endpoint
        self._http = httpx.AsyncClient(transport=transport, **endpoint.httpx_options())

    async def send(self, call: Call) -> Answer | Failure:
        """See `Sender.send`."""
        try:
            return answer_of(await self._http.send(self._http.build_request(**request_options(call))))
        except httpx.HTTPError as error:
            return self._endpoint.failure(error)

    async def open(self, call: Call) -> tuple[Answer | Failure, AsyncGenerator[bytes, None] | None]:
        """See `Sender.open`."""
        try:
            response = await self._http.send(self._http.build_request(**request_options(call)), stream=True)
            if response.is_success:
                return answer_of(response, with_body=False), self._body(response)
            await response.aread()
        except httpx.HTTPError as error:
            return self._endpoint.failure(error), None
        return answer_of(response), None

    async def close(self) -> None:
        """See `Sender.close`."""
        await self._http.aclose()

    async def _body(self, response: httpx.Response) -> AsyncGenerator[bytes, None]:
        try:
            async for chunk in response.aiter_bytes():
                yield chunk
        except httpx.HTTPError as error:
            raise self._endpoint.broken(error) from None
        finally:
            await response.aclose()

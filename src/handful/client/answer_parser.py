"""Bytes of a connection in, the answers to its requests out, without I/O. httptools does the reading.

Nothing is decoded, followed or remembered, and a redirect is an answer like any other.
"""

from collections.abc import Mapping

from httptools import HttpParserError, HttpParserUpgrade, HttpResponseParser

UNREADABLE = (HttpParserError, HttpParserUpgrade)
MAX_HEAD_BYTES = 64 * 1024


class AnswerParser:
    """One answer after the other; `begin` before each.

    status, headers   of the answer, once `has_head`; names in lower case
    num_unread        bytes of the body that were not taken yet
    is_complete       whether the answer came to its end
    keeps_open        whether another answer may come: neither side said no, and nothing came that nobody asked for
    """

    def __init__(self) -> None:
        self._parser = HttpResponseParser(self)
        self._parts: list[bytes] = []
        self._headers: dict[str, str] = {}
        self._tells_its_end = True
        self._num_head_bytes = 0
        self.status, self.num_unread = 0, 0
        self.has_head, self.is_complete, self.keeps_open = False, True, True

    @property
    def headers(self) -> Mapping[str, str]:
        """What was said several times is joined by commas."""
        return self._headers

    def begin(self) -> None:
        """A request is sent."""
        self._parts, self._headers = [], {}
        self._tells_its_end = True
        self._num_head_bytes = 0
        self.status, self.num_unread = 0, 0
        self.has_head = self.is_complete = False

    def feed(self, data: bytes) -> None:
        """Read on. Raises `UNREADABLE`, and ConnectionError for a head of more than `MAX_HEAD_BYTES`."""
        self._parser.feed_data(data)
        if not self.has_head:
            self._num_head_bytes += len(data)
            if self._num_head_bytes > MAX_HEAD_BYTES:
                raise ConnectionError("the head of an answer is too large")

    def end(self) -> None:
        """The connection's end, which is that of a body that says its length in no other way."""
        self.keeps_open = False
        self.is_complete |= self.has_head and not self._tells_its_end

    def take_body(self) -> bytes:
        """What has come of the body since it was asked last."""
        found, self._parts, self.num_unread = b"".join(self._parts), [], 0
        return found

    def on_message_begin(self) -> None:
        """An answer, or what nobody asked for."""
        self.keeps_open &= not self.is_complete

    def on_header(self, name: bytes, value: bytes) -> None:
        """Of a head; behind a body it means nothing."""
        if not self.has_head:
            key, said = name.decode("latin-1").lower(), value.decode("latin-1")
            self._headers[key] = f"{self._headers[key]}, {said}" if key in self._headers else said

    def on_headers_complete(self) -> None:
        """The head is whole; one of 1xx comes before the answer's own."""
        self.status = self._parser.get_status_code()
        if self.status < 200:
            self._headers = {}
            return
        self.has_head = True
        is_bare = self.status in (204, 304)
        self._tells_its_end = is_bare or "content-length" in self._headers or "transfer-encoding" in self._headers

    def on_body(self, body: bytes) -> None:
        """A part of the body."""
        self._parts.append(body)
        self.num_unread += len(body)

    def on_message_complete(self) -> None:
        """The end of an answer, or of a head of 1xx."""
        if self.has_head:
            self.is_complete = True
            self.keeps_open &= self._parser.should_keep_alive()

"""Server-sent events: what goes in comes out, wherever the bytes were cut."""

import itertools
import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from handful.errors import RemoteError
from handful.protocol import sse
from handful.protocol.sse import EventParser, ServerSentEvent, encode_event

values = st.dictionaries(st.text(max_size=5), st.text() | st.integers() | st.none(), max_size=3)


@given(st.lists(values, max_size=4), st.lists(st.integers(0, 400), max_size=6))
def test_written_events_are_read_back_wherever_they_are_cut(sent: list[dict[str, object]], cuts: list[int]) -> None:
    stream = b"".join(map(encode_event, sent))
    places = sorted({0, len(stream), *(cut for cut in cuts if cut < len(stream))})
    parser = EventParser()
    read = [event for start, end in itertools.pairwise(places) for event in parser.feed(stream[start:end])]
    assert [json.loads(event.data) for event in read] == sent


STREAM = "\ufeff: a comment\r\ndata: one\r\ndata:two\r\n\r\nevent: end\rdata: ü\r\rdata\n\nid: 3\n\n".encode()
EVENTS = [ServerSentEvent("one\ntwo"), ServerSentEvent("ü", "end"), ServerSentEvent("")]


def test_all_line_endings_comments_and_names_are_understood() -> None:
    assert EventParser().feed(STREAM) == EVENTS


def test_single_bytes_give_the_same_events() -> None:
    parser = EventParser()
    assert [event for byte in STREAM for event in parser.feed(bytes([byte]))] == EVENTS


def test_half_an_event_is_not_an_event() -> None:
    assert EventParser().feed(b"data: {}\n") == []


def test_an_endless_event_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sse, "MAX_EVENT_BYTES", 100)
    parser = EventParser()
    parser.feed(b"data: " + b"x" * 90)
    with pytest.raises(RemoteError, match="larger"):
        parser.feed(b"x" * 90)


def test_many_events_are_no_endless_event(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sse, "MAX_EVENT_BYTES", 100)
    parser = EventParser()
    assert sum(len(parser.feed(encode_event({"a": 1}))) for _ in range(50)) == 50

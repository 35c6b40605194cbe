"""Answers out of bytes, however the bytes are cut."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from handful.client.answer_parser import MAX_HEAD_BYTES, UNREADABLE, AnswerParser

PLAIN = b"HTTP/1.1 200 OK\r\nX-A: 1\r\nx-a: 2\r\nContent-Length: 5\r\n\r\nhello"
CHUNKED = b"HTTP/1.1 429 Too Many\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nhel\r\n2\r\nlo\r\n0\r\nx-late: 1\r\n\r\n"
EARLY = b"HTTP/1.1 103 Early Hints\r\nlink: x\r\n\r\n"
BARE = b"HTTP/1.1 204 No Content\r\nx-a: 1\r\n\r\n"


def read(*pieces: bytes) -> AnswerParser:
    parser = AnswerParser()
    parser.begin()
    for piece in pieces:
        parser.feed(piece)
    return parser


@given(st.sampled_from([PLAIN, CHUNKED, EARLY + PLAIN, BARE]), st.data())
def test_where_the_bytes_are_cut_means_nothing(answer: bytes, data: st.DataObject) -> None:
    cuts = sorted(data.draw(st.lists(st.integers(1, len(answer) - 1), unique=True, max_size=8)))
    pieces = [answer[start:stop] for start, stop in zip([0, *cuts], [*cuts, len(answer)], strict=True)]
    whole, cut = read(answer), read(*pieces)
    assert (cut.status, cut.headers, cut.is_complete, cut.keeps_open) == (whole.status, whole.headers, True, True)
    assert cut.take_body() == whole.take_body()
    assert not read(*pieces[:-1]).is_complete


def test_a_header_that_is_said_twice_is_one_and_names_are_in_lower_case() -> None:
    parser = read(PLAIN)
    assert parser.headers == {"x-a": "1, 2", "content-length": "5"}
    assert parser.take_body() == b"hello"


def test_what_stands_behind_a_body_is_no_header() -> None:
    parser = read(CHUNKED)
    assert (parser.status, parser.headers) == (429, {"transfer-encoding": "chunked"})


def test_the_next_answer_has_nothing_of_the_last() -> None:
    parser = read(PLAIN)
    parser.begin()
    parser.feed(BARE)
    assert (parser.status, parser.headers, parser.take_body()) == (204, {"x-a": "1"}, b"")


def test_a_connection_that_will_close_is_not_kept() -> None:
    assert not read(PLAIN.replace(b"X-A: 1", b"connection: close")).keeps_open
    assert not read(PLAIN.replace(b"HTTP/1.1", b"HTTP/1.0")).keeps_open


def test_what_nobody_asked_for_ends_the_connection() -> None:
    assert not read(PLAIN + PLAIN).keeps_open
    parser = read(PLAIN)
    parser.feed(PLAIN)
    assert not parser.keeps_open


def test_a_body_without_a_length_ends_with_its_connection() -> None:
    parser = read(b"HTTP/1.1 200 OK\r\n\r\nhel", b"lo")
    assert not parser.is_complete
    parser.end()
    assert (parser.is_complete, parser.keeps_open, parser.take_body()) == (True, False, b"hello")


def test_a_body_that_ends_too_early_is_not_complete() -> None:
    parser = read(PLAIN[:-1])
    parser.end()
    assert not parser.is_complete


@pytest.mark.parametrize(
    "answer", [b"SSH-2.0\r\n", b"HTTP/1.1 101 Switch\r\nupgrade: x\r\nconnection: upgrade\r\n\r\n"]
)
def test_what_is_no_answer_is_refused(answer: bytes) -> None:
    with pytest.raises(UNREADABLE):
        read(answer)


def test_a_head_without_end_is_refused() -> None:
    with pytest.raises(ConnectionError, match="too large"):
        read(b"HTTP/1.1 200 OK\r\nx: ", *[b"a" * 1024] * (MAX_HEAD_BYTES // 1024 + 1))

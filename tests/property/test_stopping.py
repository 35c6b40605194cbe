"""End sequences and incremental decoding against doing it all at once."""

import itertools
from collections.abc import Sequence

from hypothesis import given
from hypothesis import strategies as st

from handful.engine.stopping import Detokenizer, StopMatcher, TextState

LETTERS = st.text("ab#\n", max_size=30)
STOPS = st.lists(st.text("ab#\n", min_size=1, max_size=4), max_size=3)


def cut(text: str, stops: list[str]) -> tuple[str, str]:
    """The definition: character by character, the first end sequence that completes (of several, the longest)."""
    for end in range(len(text) + 1):
        found = [stop for stop in stops if text[:end].endswith(stop)]
        if found:
            longest = max(found, key=len)
            return text[: end - len(longest)], longest
    return text, ""


def pieces(text: str, cuts: list[int]) -> list[str]:
    edges = [0, *sorted(i % (len(text) + 1) for i in cuts), len(text)]
    return [text[a:b] for a, b in itertools.pairwise(edges)]


@given(text=LETTERS, stops=STOPS, cuts=st.lists(st.integers(0, 30), max_size=10))
def test_a_text_is_cut_at_the_same_place_however_it_arrives(text: str, stops: list[str], cuts: list[int]) -> None:
    matcher = StopMatcher(stops)
    released = "".join(matcher.append(piece) for piece in pieces(text, cuts)) + matcher.flush()
    assert (released, matcher.found) == cut(text, stops)


@given(text=LETTERS, stops=STOPS, cuts=st.lists(st.integers(0, 30), max_size=10))
def test_what_is_released_is_never_taken_back(text: str, stops: list[str], cuts: list[int]) -> None:
    matcher, released = StopMatcher(stops), ""
    for piece in pieces(text, cuts):
        released += matcher.append(piece)
        assert cut(text, stops)[0].startswith(released)


def decode_bytes(ids: Sequence[int]) -> str:
    return bytes(ids).decode("utf-8", errors="replace")


@given(text=st.text(max_size=20))
def test_characters_of_several_tokens_come_out_whole(text: str) -> None:
    detokenizer = Detokenizer(decode_bytes)
    parts = [detokenizer.append(byte) for byte in text.encode()]
    assert "".join(parts) + detokenizer.flush() == text
    assert all("\ufffd" not in part for part in parts) or "\ufffd" in text


@given(data=st.binary(max_size=20))
def test_bytes_that_are_no_text_are_still_decoded_to_the_end(data: bytes) -> None:
    detokenizer = Detokenizer(decode_bytes)
    parts = [detokenizer.append(byte) for byte in data]
    assert len("".join(parts) + detokenizer.flush()) >= (1 if data else 0)


@given(text=st.text("ab#é\n", max_size=20), stops=STOPS)
def test_a_completion_ends_before_its_end_sequence(text: str, stops: list[str]) -> None:
    state = TextState(decode_bytes, tuple(stops))
    streamed = ""
    for byte in text.encode():
        streamed += state.append(byte)
        if state.stop:
            break
    else:
        streamed += state.flush()
    assert (streamed, state.stop) == cut(text, stops)
    assert state.text == streamed

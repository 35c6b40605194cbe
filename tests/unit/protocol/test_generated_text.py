"""Answers: their shapes, and that a stream joins to the same text."""

import json
from typing import Any

from handful.protocol.generated_text import StreamWriter, answer
from handful.protocol.text_generation import TextGenerationRequest
from handful.types import Alternative, Completion, Generation, StreamEvent, Token

TOKENS = (Token(1, " b", -0.5, top=(Alternative(1, " b", -0.5), Alternative(2, " c", -1.5))), Token(3, "\n#", -0.25))
DONE = Completion(" b\n", "stop_sequence", stop="###", tokens=TOKENS, seed=7)


def request(inputs: object = "a", **parameters: Any) -> TextGenerationRequest:
    return TextGenerationRequest.from_body(json.dumps({"inputs": inputs, "parameters": parameters}).encode())


def made(*texts: str) -> Generation:
    return Generation(tuple(Completion(text, "length") for text in texts), 3)


def test_the_text_begins_with_the_prompt_and_keeps_its_end_sequence() -> None:
    assert answer(request(), [Generation((DONE,), 1)]) == [{"generated_text": "a b\n###"}]


def test_the_prompt_is_left_out_when_unwanted() -> None:
    assert answer(request(return_full_text=False), [Generation((DONE,), 1)]) == [{"generated_text": " b\n###"}]


def test_several_texts_of_one_input_are_one_list() -> None:
    asked = request(num_return_sequences=2, temperature=1, return_full_text=False)
    assert answer(asked, [made("x", "y")]) == [{"generated_text": "x"}, {"generated_text": "y"}]


def test_several_inputs_are_one_list_in_their_order() -> None:
    asked = request(["a", "b"])
    assert answer(asked, [made("x"), made("y")]) == [{"generated_text": "ax"}, {"generated_text": "by"}]


def test_several_texts_of_several_inputs_are_a_list_of_lists() -> None:
    asked = request(["a", "b"], num_return_sequences=2, temperature=1)
    answered = answer(asked, [made("x", "y"), made("z", "w")])
    assert [[text["generated_text"] for text in texts] for texts in answered] == [["ax", "ay"], ["bz", "bw"]]


def test_details_have_every_token() -> None:
    generation = Generation((DONE,), 2, prompt_tokens=(Token(9, "a"),))
    details = answer(request(details=True, decoder_input_details=True, top_n_tokens=2), [generation])[0]["details"]
    assert (details["finish_reason"], details["generated_tokens"], details["seed"]) == ("stop_sequence", 2, 7)
    assert details["prefill"] == [{"id": 9, "text": "a", "logprob": None, "special": False}]
    assert [token["id"] for token in details["tokens"]] == [1, 3]
    assert [[token["id"] for token in top] for top in details["top_tokens"]] == [[1, 2], []]


def frames(asked: TextGenerationRequest) -> list[dict[str, Any]]:
    events = [
        StreamEvent(" b", TOKENS[0]),
        StreamEvent("", TOKENS[1]),
        StreamEvent("\n", None, Generation((DONE,), 4)),
    ]
    writer = StreamWriter(asked)
    return [writer.frame(event) for event in events]


def test_the_joined_frames_are_the_text_with_its_end_sequence() -> None:
    assert "".join(frame["token"]["text"] for frame in frames(request())) == " b\n###"


def test_only_the_last_frame_has_the_whole_text_and_details() -> None:
    made_frames = frames(request(return_full_text=False))
    assert [frame["generated_text"] for frame in made_frames] == [None, None, " b\n###"]
    details = {"finish_reason": "stop_sequence", "generated_tokens": 2, "input_length": 4, "seed": 7}
    assert [frame["details"] for frame in made_frames] == [None, None, details]


def test_a_frame_that_releases_text_is_never_special() -> None:
    end = StreamEvent("held back", Token(0, "<|endoftext|>", special=True))
    assert StreamWriter(request()).frame(end)["token"]["special"] is False
    empty = StreamEvent("", Token(0, "<|endoftext|>", special=True))
    assert StreamWriter(request()).frame(empty)["token"]["special"] is True


def test_top_tokens_stand_in_a_frame_only_when_asked_for() -> None:
    assert "top_tokens" not in frames(request())[0]
    assert len(frames(request(details=True, top_n_tokens=2))[0]["top_tokens"]) == 2


def test_a_text_that_ran_out_of_time_was_cut_for_its_length() -> None:
    cut = Generation((Completion(" b", "max_time"),), 1)
    whole = answer(request(details=True), [cut])[0]["details"]
    streamed = StreamWriter(request()).frame(StreamEvent(" b", None, cut))["details"]
    assert (whole["finish_reason"], streamed["finish_reason"]) == ("length", "length")

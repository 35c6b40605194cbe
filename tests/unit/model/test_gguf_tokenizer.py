"""Tokenizers inside GGUF files: byte-level and SentencePiece, and what is refused."""

from collections.abc import Callable
from pathlib import Path

import gguf
import numpy as np
import pytest

from handful.errors import CheckpointError
from handful.model.gguf_file import GgufFile
from handful.model.gguf_tokenizer import GgufTokenizer, Metadata
from tests.unit.model.gguf_factory import write_byte_tokenizer, write_sentencepiece_tokenizer

Write = Callable[[gguf.GGUFWriter], None]


def metadata_of(folder: Path, write: Write) -> Metadata:
    writer = gguf.GGUFWriter(folder / "t.gguf", "llama")
    write(writer)
    writer.add_tensor("t", np.ones(1, np.float32))
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    with GgufFile(folder / "t.gguf") as file:
        return file.metadata


@pytest.fixture
def byte_level(tmp_path: Path) -> Metadata:
    return metadata_of(tmp_path, lambda writer: write_byte_tokenizer(writer, "gpt-2", 300))


@pytest.fixture
def sentencepiece(tmp_path: Path) -> Metadata:
    return metadata_of(tmp_path, write_sentencepiece_tokenizer)


def test_merges_are_applied(byte_level: Metadata) -> None:
    raw = GgufTokenizer(byte_level).raw
    assert raw.encode("hello w").tokens == ["hello", "Ġw"]


@pytest.mark.parametrize(("pre", "tokens"), [("gpt-2", ["12"]), ("smollm", ["1", "2"]), ("llama-bpe", ["12"])])
def test_the_named_rule_cuts_digits(byte_level: Metadata, pre: str, tokens: list[str]) -> None:
    raw = GgufTokenizer(byte_level | {"tokenizer.ggml.pre": pre}).raw
    assert raw.encode("12", add_special_tokens=False).tokens == tokens


def test_control_tokens_are_found_in_a_text(byte_level: Metadata) -> None:
    assert GgufTokenizer(byte_level).raw.encode("a<|im_end|>").ids[-1] == 1


def test_bos_is_added_where_the_file_says_so(byte_level: Metadata) -> None:
    assert GgufTokenizer(byte_level).raw.encode("a").ids[0] != 0
    assert GgufTokenizer(byte_level | {"tokenizer.ggml.add_bos_token": True}).raw.encode("a").ids[0] == 0


def test_sentencepiece_puts_a_space_and_bos_before_a_text(sentencepiece: Metadata) -> None:
    assert GgufTokenizer(sentencepiece).raw.encode("hello hello").tokens == ["<s>", "▁hello", "▁hello"]


def test_sentencepiece_spells_unknown_characters_as_bytes(sentencepiece: Metadata) -> None:
    raw = GgufTokenizer(sentencepiece).raw
    assert raw.encode("é", add_special_tokens=False).tokens == ["▁", "<0xC3>", "<0xA9>"]


@pytest.mark.parametrize("text", ["hello", " hello", "  Paris", "a\nb", "日本語", "", "he  llo "])
def test_sentencepiece_gives_texts_back(sentencepiece: Metadata, text: str) -> None:
    raw = GgufTokenizer(sentencepiece).raw
    assert raw.decode(raw.encode(text).ids) == text


@pytest.mark.parametrize(
    ("change", "problem"),
    [
        ({"tokenizer.ggml.model": "bert"}, "kind 'bert'"),
        ({"tokenizer.ggml.tokens": []}, "tokenizer.ggml.tokens"),
        ({"tokenizer.ggml.tokens": ["a", "a"], "tokenizer.ggml.token_type": [1, 1]}, "token twice"),
        ({"tokenizer.ggml.token_type": [1]}, "type for each token"),
        ({"tokenizer.ggml.merges": ["a b c"]}, "not two tokens"),
        ({"tokenizer.ggml.merges": ["nope never"]}, "damaged"),
        ({"tokenizer.ggml.eos_token_id": 10**6}, "outside the vocabulary"),
        ({"tokenizer.ggml.pre": ["gpt-2"]}, "isn't known"),
    ],
)
def test_a_damaged_tokenizer_is_refused(byte_level: Metadata, change: Metadata, problem: str) -> None:
    with pytest.raises(CheckpointError, match=problem):
        _ = GgufTokenizer(byte_level | change).eos_token_ids


def test_sentencepiece_without_scores_is_refused(sentencepiece: Metadata) -> None:
    with pytest.raises(CheckpointError, match="score"):
        GgufTokenizer({key: value for key, value in sentencepiece.items() if not key.endswith("scores")})

"""Texts to ids and back: what is added at the start, continuations, ends of text, damaged files."""

import json
import sys
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tokenizers import Tokenizer as RawTokenizer
from tokenizers import decoders, models, pre_tokenizers, processors

from handful.errors import CheckpointError, InvalidInputError, NotFoundError
from handful.model.gguf_tokenizer import GgufTokenizer
from handful.model.tokenizer import Tokenizer
from tests.unit.model.gguf_factory import write_sentencepiece_tokenizer
from tests.unit.model.test_gguf_tokenizer import metadata_of
from tests.unit.model.tiny_models import tokenizer as tiny_tokenizer


def saved(folder: Path, raw: RawTokenizer, **files: object) -> Path:
    folder.mkdir(exist_ok=True)
    raw.save(str(folder / "tokenizer.json"))
    for name, content in files.items():
        (folder / f"{name}.json").write_text(json.dumps(content))
    return folder


def bytes_folder(folder: Path, **config: object) -> Path:
    """GPT-2's two files, with the bytes, one merge and `</s>`."""
    tokens = ["</s>", "<|endoftext|>", *sorted(pre_tokenizers.ByteLevel.alphabet()), "ab", "Ġa"]
    folder.mkdir(exist_ok=True)
    (folder / "vocab.json").write_text(json.dumps({token: i for i, token in enumerate(tokens)}))
    (folder / "merges.txt").write_text("#version: 0.2\na b\nĠ a\n")
    if config:
        (folder / "tokenizer_config.json").write_text(json.dumps(config))
    return folder


@pytest.fixture(scope="module")
def byte_level(tmp_path_factory: pytest.TempPathFactory) -> Tokenizer:
    return Tokenizer(saved(tmp_path_factory.mktemp("bytes"), tiny_tokenizer()))


@pytest.fixture(scope="module")
def sentencepiece(tmp_path_factory: pytest.TempPathFactory) -> Tokenizer:
    folder = tmp_path_factory.mktemp("pieces")
    made = GgufTokenizer(metadata_of(folder, write_sentencepiece_tokenizer))
    return Tokenizer(saved(folder, made.raw, tokenizer_config=made.config()))


@pytest.fixture(scope="module")
def metaspace(tmp_path_factory: pytest.TempPathFactory) -> Tokenizer:
    """The newer spelling of SentencePiece: the space is put before a text by the pre-tokenizer."""
    pieces = ["<unk>", "<s>", "▁", *"abcdefghijklmnopqrstuvwxyzP.", "▁a", *(f"<0x{i:02X}>" for i in range(256))]
    vocabulary = {piece: i for i, piece in enumerate(pieces)}
    raw = RawTokenizer(models.BPE(vocab=vocabulary, merges=[("▁", "a")], unk_token="<unk>", byte_fallback=True))
    raw.pre_tokenizer = pre_tokenizers.Metaspace(prepend_scheme="first", split=False)
    steps = [decoders.Replace("▁", " "), decoders.ByteFallback(), decoders.Fuse(), decoders.Strip(" ", 1, 0)]
    raw.decoder = decoders.Sequence(steps)
    raw.add_special_tokens(["<s>"])
    raw.post_processor = processors.TemplateProcessing(single=["<s>", "$A"], pair=None, special_tokens=[("<s>", 1)])
    return Tokenizer(saved(tmp_path_factory.mktemp("metaspace"), raw))


def test_byte_level_adds_nothing_at_the_start(byte_level: Tokenizer) -> None:
    assert byte_level.num_prefix_tokens == 0
    assert byte_level.encode("") == []


def test_sentencepiece_adds_bos_at_the_start(sentencepiece: Tokenizer) -> None:
    assert sentencepiece.encode("hello")[0] == sentencepiece.bos_token_id == 1
    assert sentencepiece.num_prefix_tokens == 1


def test_a_batch_is_encoded_as_each_text_alone(sentencepiece: Tokenizer) -> None:
    texts = ["hello", "", " Paris", "日本"]
    assert sentencepiece.encode_prompts(texts) == [tuple(sentencepiece.encode(text)) for text in texts]


def test_an_end_token_that_a_tokenizer_would_append_is_not_appended(tmp_path: Path) -> None:
    raw = RawTokenizer.from_str(tiny_tokenizer().to_str())
    template = processors.TemplateProcessing(
        single=["$A", "<|endoftext|>"], pair=None, special_tokens=[("<|endoftext|>", 0)]
    )
    raw.post_processor = template
    assert Tokenizer(saved(tmp_path, raw)).encode("a") == tiny_tokenizer().encode("a").ids


@given(st.text())
def test_byte_level_gives_every_text_back(byte_level: Tokenizer, text: str) -> None:
    text = text.encode("utf-8", "ignore").decode()
    assert byte_level.decode(byte_level.encode(text), skip_special=False) == text


def test_a_prompts_trailing_space_goes_to_the_continuation(byte_level: Tokenizer) -> None:
    assert byte_level.encode_continuation("the film is ", "bad") == byte_level.encode_continuation(
        "the film is", " bad"
    )


def test_a_continuation_has_the_tokens_that_it_has_behind_the_prompt(byte_level: Tokenizer) -> None:
    prompt, continuation = byte_level.encode_continuation("the review is", " negative")
    assert prompt + continuation == byte_level.encode("the review is negative")


def test_where_a_token_would_reach_across_the_prompt_keeps_its_own(byte_level: Tokenizer) -> None:
    prompt, continuation = byte_level.encode_continuation("the rev", "iew")
    assert prompt == byte_level.encode("the rev")
    assert byte_level.decode(prompt + continuation) == "the review"


def test_a_prompt_of_whitespace_keeps_it(byte_level: Tokenizer) -> None:
    prompt, continuation = byte_level.encode_continuation(" \n", "film")
    assert prompt == byte_level.encode(" \n")
    assert byte_level.decode(continuation) == "film"


@pytest.mark.parametrize("kind", ["byte_level", "sentencepiece", "metaspace"])
@given(data=st.data())
def test_prompt_and_continuation_decode_to_both_texts(
    kind: str, data: st.DataObject, request: pytest.FixtureRequest
) -> None:
    tokenizer: Tokenizer = request.getfixturevalue(kind)
    letters = st.text(alphabet="abhelo Pr.\n12é日", max_size=12)
    prompt, continuation = data.draw(letters), data.draw(letters)
    if kind == "metaspace" and (prompt.rstrip() or prompt).startswith(" "):
        prompt = "a" + prompt  # Metaspace itself treats " a" and "a" as the same text
    if kind == "metaspace" and not prompt:
        prompt = "a"
    head, tail = tokenizer.encode_continuation(prompt, continuation)
    assert tokenizer.decode(head + tail) == prompt + continuation


def test_a_sentencepiece_continuation_gets_no_space_of_its_own(sentencepiece: Tokenizer) -> None:
    head, tail = sentencepiece.encode_continuation("hel", "lo")
    assert [sentencepiece.token_text(i) for i in tail] == ["l", "o"]
    assert sentencepiece.decode(head + tail) == "hello"


def test_a_tokens_text_keeps_its_space(sentencepiece: Tokenizer) -> None:
    token = sentencepiece.encode("hello")[-1]
    assert sentencepiece.token_text(token) == " hello"
    assert sentencepiece.decode([token]) == "hello"
    assert sentencepiece.decode_continuation([token]) == " hello"


def test_the_text_of_a_special_token_is_that_token(byte_level: Tokenizer) -> None:
    assert byte_level.encode("a<|endoftext|>")[-1] == 0
    assert byte_level.is_special(0)
    assert not byte_level.is_special(5)
    assert byte_level.decode([0]) == ""
    assert byte_level.decode([0], skip_special=False) == "<|endoftext|>"
    assert byte_level.token_text(0) == "<|endoftext|>"


@pytest.mark.parametrize("text", ["\ud800", "a\udcffb"])
def test_half_a_surrogate_pair_is_refused(byte_level: Tokenizer, text: str) -> None:
    for encode in (byte_level.encode, lambda t: byte_level.encode_prompts([t])):
        with pytest.raises(InvalidInputError, match="surrogate"):
            encode(text)
    with pytest.raises(InvalidInputError, match="surrogate"):
        byte_level.encode_continuation("a", text)


def test_bytes_are_refused(byte_level: Tokenizer) -> None:
    with pytest.raises(InvalidInputError, match="bytes"):
        byte_level.encode(b"a")  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("files", "expected"),
    [
        ({"generation_config": {"eos_token_id": [5, 7]}, "config": {"eos_token_id": 3}}, {5, 7}),
        ({"generation_config": {}, "config": {"eos_token_id": 3}}, {3}),
        ({"config": {"eos_token_id": 10**9}, "tokenizer_config": {"eos_token": "<|endoftext|>"}}, {0}),
        ({"tokenizer_config": {"eos_token": {"content": "<|endoftext|>"}}}, {0}),
        ({"special_tokens_map": {"eos_token": "<|endoftext|>"}}, {0}),
        ({}, set()),
    ],
)
def test_end_tokens_come_from_the_first_file_that_has_them(
    files: dict[str, object], expected: set[int], tmp_path: Path
) -> None:
    assert Tokenizer(saved(tmp_path, tiny_tokenizer(), **files)).eos_token_ids == expected


def test_vocabulary_and_merges_make_gpt2s_tokenizer(tmp_path: Path) -> None:
    tokenizer = Tokenizer(bytes_folder(tmp_path))
    assert [tokenizer.token_text(i) for i in tokenizer.encode("ab a<|endoftext|>")] == ["ab", " a", "<|endoftext|>"]


def test_opts_tokenizer_starts_with_its_bos(tmp_path: Path) -> None:
    folder = bytes_folder(tmp_path, add_bos_token=True, bos_token={"content": "</s>"}, eos_token="</s>")
    tokenizer = Tokenizer(folder)
    assert tokenizer.encode("ab") == [0, *Tokenizer(bytes_folder(tmp_path / "plain")).encode("ab")]
    assert tokenizer.bos_token_id == 0


def test_vocabulary_and_merges_agree_with_transformers(tmp_path: Path) -> None:
    from transformers import GPT2Tokenizer

    config = {"add_bos_token": True, "bos_token": "</s>", "eos_token": "</s>", "unk_token": "</s>"}
    folder = bytes_folder(tmp_path, **config, tokenizer_class="GPT2Tokenizer")
    theirs = GPT2Tokenizer.from_pretrained(folder)
    for text in ("ab a  b\n", "日本", " <|endoftext|>"[:4]):
        assert Tokenizer(folder).encode(text) == theirs(text)["input_ids"]


@pytest.mark.parametrize("content", [b"{", b"[]", b'{"model": {"type": "BPE"}}', b"\xff\xfe", b""])
def test_a_damaged_tokenizer_file_is_named(content: bytes, tmp_path: Path) -> None:
    (tmp_path / "tokenizer.json").write_bytes(content)
    with pytest.raises(CheckpointError, match=r"tokenizer\.json"):
        Tokenizer(tmp_path)


def test_damaged_vocabulary_files_are_named(tmp_path: Path) -> None:
    folder = bytes_folder(tmp_path)
    (folder / "merges.txt").write_text("nope never\n")
    with pytest.raises(CheckpointError, match=r"merges\.txt"):
        Tokenizer(folder)


def test_a_damaged_config_beside_it_is_named(tmp_path: Path) -> None:
    saved(tmp_path, tiny_tokenizer())
    (tmp_path / "tokenizer_config.json").write_text("[1]")
    with pytest.raises(CheckpointError, match=r"tokenizer_config\.json"):
        Tokenizer(tmp_path)


def test_a_folder_without_a_tokenizer_is_not_found(tmp_path: Path) -> None:
    with pytest.raises(NotFoundError, match="no tokenizer"):
        Tokenizer(tmp_path)


def test_only_a_sentencepiece_model_without_transformers_says_what_to_install(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "tokenizer.model").write_bytes(b"\n\x05")
    monkeypatch.setitem(sys.modules, "transformers", None)
    with pytest.raises(CheckpointError, match=r"handful\[transformers\]"):
        Tokenizer(tmp_path)


def test_a_named_chat_template_is_kept_unrendered(tmp_path: Path) -> None:
    templates = [{"name": "tool", "template": "t"}, {"name": "default", "template": "{{ 1/0 }}"}]
    folder = saved(tmp_path, tiny_tokenizer(), tokenizer_config={"chat_template": templates})
    assert Tokenizer(folder).chat_template == "{{ 1/0 }}"

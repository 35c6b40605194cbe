"""Texts that are encoded in two parts have the ids that they have as a whole."""

from collections.abc import Sequence
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tokenizers import AddedToken, models, normalizers, pre_tokenizers, trainers
from tokenizers import Tokenizer as RawTokenizer

from handful.model.line_cuts import cut_before, cuts_at_lines, is_cut
from handful.model.shared_heads import KEY_CHARACTERS, SharedHeads

PIECES = st.sampled_from(
    ["\n", "\n\n", " ", "\t", "\r\n", "a", "word", "Review: ", "12", "7", "'s", "'", ".", "...", "###", "é", "日本",
     "🙂", "\u00a0", "\u2028", "\x1c", "<|endoftext|>", "<|", "|>", "\u0301"]
)  # fmt: skip
TEXTS = st.lists(PIECES, max_size=30).map("".join)


def trained(*before: pre_tokenizers.PreTokenizer, add_prefix_space: bool = False) -> RawTokenizer:
    """Byte-level BPE with merges across what it was trained on, line breaks and spaces among it."""
    raw = RawTokenizer(models.BPE())
    level = pre_tokenizers.ByteLevel(add_prefix_space=add_prefix_space)
    raw.pre_tokenizer = pre_tokenizers.Sequence([*before, level]) if before else level
    corpus = [Path(__file__).read_text(encoding="utf-8"), "word\n\n  word\n\t### 's 12 Review: \n\n\n"] * 3
    alphabet = pre_tokenizers.ByteLevel.alphabet()
    trainer = trainers.BpeTrainer(vocab_size=700, initial_alphabet=alphabet, special_tokens=["<|endoftext|>"])
    raw.train_from_iterator(corpus, trainer)
    return raw


GPT2, SMOL = trained(), trained(pre_tokenizers.Digits(individual_digits=True))


def ids_of(raw: RawTokenizer, text: str) -> list[int]:
    ids: list[int] = raw.encode(text, add_special_tokens=False).ids
    return ids


@pytest.mark.parametrize("raw", [GPT2, SMOL])
@settings(deadline=None)
@given(TEXTS)
def test_a_text_may_be_cut_wherever_it_is_said(raw: RawTokenizer, text: str) -> None:
    assert cuts_at_lines(raw)
    for at in range(len(text) + 1):
        if is_cut(text, at):
            assert ids_of(raw, text[:at]) + ids_of(raw, text[at:]) == ids_of(raw, text)


@settings(deadline=None)
@given(TEXTS, st.integers(0, 200))
def test_the_last_cut_is_found(text: str, end: int) -> None:
    possible = [at for at in range(min(end, len(text)) + 1) if is_cut(text, at)]
    assert cut_before(text, end) == max(possible, default=0)


@settings(deadline=None)
@given(st.lists(st.tuples(st.sampled_from(["", "ada"]), TEXTS), max_size=8), TEXTS)
def test_remembered_heads_change_nothing(asked: list[tuple[str, str]], shared: str) -> None:
    head = "Review: a word.\nSentiment: 12\n###\n" * (KEY_CHARACTERS // 30) + shared
    heads = SharedHeads(lambda texts: [ids_of(SMOL, text) for text in texts], max_characters=20_000)
    for owner, text in asked:
        tail = " and more words" * 40
        texts = [head + text + tail, head + text, text + tail, head + tail]
        assert heads.encode(owner, texts) == [tuple(ids_of(SMOL, each)) for each in texts]


def counting() -> tuple[SharedHeads, list[int]]:
    lengths: list[int] = []

    def encode(texts: Sequence[str]) -> list[list[int]]:
        lengths.extend(map(len, texts))
        return [ids_of(GPT2, text) for text in texts]

    return SharedHeads(encode), lengths


def test_from_the_third_text_on_only_what_differs_is_encoded() -> None:
    heads, lengths = counting()
    prefix = "Review: a word.\nSentiment: good\n" * 40
    for i in range(5):
        heads.encode("", [f"{prefix}Query {i}\nSentiment:"])
    assert lengths[-2:] == [len("Query 3\nSentiment:")] * 2


def test_the_first_texts_of_a_list_show_what_the_others_share() -> None:
    heads, lengths = counting()
    prefix = "Review: a word.\nSentiment: good\n" * 40
    heads.encode("", [f"{prefix}Query {i}\nSentiment:" for i in range(6)])
    assert lengths[-4:] == [len("Query 3\nSentiment:")] * 4


def test_a_head_that_grew_is_learnt_again() -> None:
    heads, _ = counting()
    prefix = "Review: a word.\nSentiment: good\n" * 40
    for text in (prefix + "Query 1\nSentiment:", prefix + "Query 2\nSentiment:"):
        heads.encode("", [text])
    longer = prefix + "Review: another.\nSentiment: bad\n" * 40
    for i in range(3):
        heads.encode("", [f"{longer}Query {i}\nSentiment:"])
    assert heads.find("", f"{longer}Query 9\nSentiment:")[0] == len(longer)


def test_callers_learn_nothing_of_each_other() -> None:
    heads, _ = counting()
    prefix = "Review: a word.\nSentiment: good\n" * 40
    for i in range(3):
        heads.encode("ada", [f"{prefix}Query {i}\nSentiment:"])
    assert heads.find("ada", f"{prefix}Query\nSentiment:")[0] == len(prefix)
    assert heads.find("bob", f"{prefix}Query\nSentiment:") == (0, ())


def test_what_is_remembered_is_bounded() -> None:
    heads = SharedHeads(lambda texts: [ids_of(GPT2, text) for text in texts], max_characters=10_000)
    for i in range(50):
        prefix = f"Task {i}: a word.\nSentiment: good\n" * 40
        for query in "ab":
            heads.encode("", [f"{prefix}Query {query}\nSentiment:"])
    assert heads._num_characters <= 10_000
    assert sum(family.num_characters for family in heads._families.values()) == heads._num_characters


def unknown() -> list[RawTokenizer]:
    normalised, eating, other = trained(), trained(), trained()
    normalised.normalizer = normalizers.NFC()
    eating.add_special_tokens([AddedToken("<mask>", lstrip=True)])
    other.pre_tokenizer = pre_tokenizers.Metaspace()
    return [normalised, eating, other, trained(add_prefix_space=True), RawTokenizer(models.BPE())]


@pytest.mark.parametrize("raw", unknown())
def test_a_tokenizer_that_may_join_lines_is_never_cut(raw: RawTokenizer) -> None:
    assert not cuts_at_lines(raw)

"""Named entities: against Transformers' own pipeline, and grouping on cases made by hand."""

from itertools import pairwise

import numpy as np
import pytest
from transformers import pipeline

from handful.errors import InvalidParameterError, PromptTooLongError
from handful.nlp_types import TokenEntity, TokenOptions
from handful.pipelines.contract import NlpModel
from handful.pipelines.entities import Labelled, Piece, entities_of, group_pieces
from handful.pipelines.load import load_nlp_model
from tests.unit.pipelines.tiny_nlp import checkpoint, files

TEXT = "My name is Sarah Jessica and I live in New-York, in Berkeley."
LABELS = {0: "O", 1: "B-PER", 2: "I-PER", 3: "B-LOC", 4: "I-LOC"}


@pytest.fixture(scope="module")
def model() -> NlpModel:
    return load_nlp_model(files("bert-entities"), "cpu")


@pytest.mark.parametrize("strategy", ["none", "simple", "first", "average", "max"])
def test_every_strategy_gives_what_transformers_pipeline_gives(model: NlpModel, strategy: str) -> None:
    reference = pipeline("token-classification", model=str(checkpoint("bert-entities")), aggregation_strategy=strategy)
    (found,) = model.token_classification([TEXT], TokenOptions(aggregation_strategy=strategy))  # type: ignore[arg-type]
    expected = reference(TEXT)
    assert len(found) == len(expected) > 3
    for entity, wanted in zip(found, expected, strict=True):
        assert entity.label == wanted["entity" if strategy == "none" else "entity_group"]
        assert (entity.start, entity.end, entity.word) == (wanted["start"], wanted["end"], wanted["word"])
        assert entity.score == pytest.approx(float(wanted["score"]), abs=1e-5)
        assert (entity.index, entity.is_group) == (wanted.get("index"), strategy != "none")


def test_several_texts_are_answered_in_their_order(model: NlpModel) -> None:
    texts = ["i", TEXT, "my name is clara"]
    together = model.token_classification(texts, TokenOptions())
    for text, found in zip(texts, together, strict=True):
        (alone,) = model.token_classification([text], TokenOptions())
        assert [(e.label, e.start, e.end) for e in found] == [(e.label, e.start, e.end) for e in alone]


def tokens(*spans: tuple[str, int, list[float]]) -> list[Labelled]:
    """Tokens side by side from (text, word, probabilities); a new word begins after a space."""
    made: list[Labelled] = []
    for index, (text, word, probabilities) in enumerate(spans):
        start = 0 if not made else made[-1].end + (word != made[-1].word)
        bare = text.removeprefix("##")
        made.append(Labelled(text, np.array(probabilities, np.float32), start, start + len(bare), word, index))
    return made


def sure(label: int, probability: float = 0.9) -> list[float]:
    rest = (1 - probability) / 4
    return [probability if index == label else rest for index in range(5)]


def joined(words: list[str]) -> str:
    return " ".join(words).replace(" ##", "")


def group(found: list[Labelled], **options: object) -> list[TokenEntity]:
    return entities_of(found, LABELS, TokenOptions(**options), joined)  # type: ignore[arg-type]


def test_simple_joins_neighbours_of_a_kind_and_a_beginning_parts_them() -> None:
    found = group(tokens(("ann", 0, sure(1)), ("lee", 1, sure(2, 0.7)), ("bob", 2, sure(1)), ("ran", 3, sure(0))))
    assert [(e.label, e.word, e.start, e.end) for e in found] == [("PER", "ann lee", 0, 7), ("PER", "bob", 8, 11)]
    assert found[0].score == pytest.approx(0.8)


def test_simple_leaves_a_word_in_parts_that_first_keeps_whole() -> None:
    word = tokens(("micro", 0, sure(3)), ("##soft", 0, sure(2)))
    assert [(e.label, e.word) for e in group(word)] == [("LOC", "micro"), ("PER", "##soft")]
    assert [(e.label, e.word) for e in group(word, aggregation_strategy="first")] == [("LOC", "microsoft")]


def test_first_average_and_max_choose_the_words_label_each_in_its_own_way() -> None:
    word = tokens(("a", 0, [0, 0.5, 0, 0.4, 0.1]), ("##b", 0, [0.1, 0, 0, 0.8, 0.1]), ("##c", 0, [0, 0, 0, 0.05, 0.95]))
    assert [e.label for e in group(word, aggregation_strategy="first")] == ["PER"]
    (average,) = group(word, aggregation_strategy="average")
    assert average.label == "LOC"
    assert average.score == pytest.approx(1.25 / 3)
    (most,) = group(word, aggregation_strategy="max")
    assert most.label == "LOC"
    assert most.score == pytest.approx(0.95)


def test_labels_are_left_out_by_their_full_name_or_their_group() -> None:
    found = tokens(("ann", 0, sure(1)), ("paris", 1, sure(3)), ("ran", 2, sure(0)))
    assert [e.label for e in group(found, ignore_labels=("PER",))] == ["LOC", "O"]
    assert [e.label for e in group(found, ignore_labels=("B-PER", "O"))] == ["LOC"]
    assert [e.label for e in group(found, aggregation_strategy="none", ignore_labels=())] == ["B-PER", "B-LOC", "O"]


def test_labels_without_a_prefix_continue_each_other() -> None:
    pieces = [Piece(label, 1.0, ()) for label in ("LOC", "LOC", "PER", "I-PER")]
    assert [len(found) for found in group_pieces(pieces)] == [2, 2]


def test_a_long_text_is_an_error_without_a_stride(model: NlpModel) -> None:
    with pytest.raises(PromptTooLongError, match=r"102 tokens.*at most 64.*stride"):
        model.token_classification(["the name " * 50], TokenOptions())


def test_windows_cover_every_word_of_a_long_text_once(model: NlpModel) -> None:
    text = " ".join(f"my name is clara {number}" for number in range(40))
    options = TokenOptions(stride=7, ignore_labels=())
    (found,) = model.token_classification([text], options)
    assert "".join(text[e.start : e.end].replace(" ", "") for e in found) == text.replace(" ", "")
    assert all(first.end <= second.start for first, second in pairwise(found))


def test_a_stride_changes_nothing_for_a_text_that_fits(model: NlpModel) -> None:
    assert model.token_classification([TEXT], TokenOptions(stride=5)) == model.token_classification(
        [TEXT], TokenOptions()
    )


def test_a_stride_as_long_as_a_window_is_refused(model: NlpModel) -> None:
    with pytest.raises(InvalidParameterError, match="must be less than the 62 tokens"):
        model.token_classification([TEXT], TokenOptions(stride=62))


def test_a_stride_without_groups_is_refused() -> None:
    with pytest.raises(InvalidParameterError, match="stride"):
        TokenOptions(stride=3, aggregation_strategy="none")


def test_byte_pairs_have_words_and_places() -> None:
    model = load_nlp_model(files("roberta-entities"), "cpu")
    text = "My name is Zoë and I live in Berkeley."
    (found,) = model.token_classification([text], TokenOptions(aggregation_strategy="first", ignore_labels=()))
    assert all(text[e.start : e.end] == e.word.strip() for e in found)
    assert "".join(text[e.start : e.end].replace(" ", "") for e in found) == text.replace(" ", "")

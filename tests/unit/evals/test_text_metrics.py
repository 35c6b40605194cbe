"""Metrics of free text: exact match by hand, chrF and BLEU as sacrebleu's own program gives them."""

from typing import Any

import pytest
import sacrebleu

from handful.errors import UserError
from handful.evals import extras
from handful.evals.text_metrics import exact_matches, signatures, text_intervals, text_metrics


def record(expected: str, prediction: str | None) -> dict[str, Any]:
    return {"expected": expected, "prediction": prediction}


RECORDS = [
    record("the cat sat on the mat", "the cat sat on a mat"),
    record("good evening to you all", "good evening to you all"),
    record("where is the small station", "where was the large station"),
    record("bread", None),
]


def test_exact_match_takes_off_whitespace_around_and_nothing_else() -> None:
    found = exact_matches([record("a b ", " a b"), record("A b", "a b"), record("a b", "a  b"), record("a", None)])
    assert found == [True, False, False, False]


def test_the_scores_are_sacrebleus_over_the_whole_corpus() -> None:
    said = ["the cat sat on a mat", "good evening to you all", "where was the large station", ""]
    references = [str(one["expected"]) for one in RECORDS]
    found = text_metrics(RECORDS)
    assert found["chrf"] == pytest.approx(sacrebleu.corpus_chrf(said, [references]).score)
    assert found["bleu"] == pytest.approx(sacrebleu.corpus_bleu(said, [references]).score)
    assert found["exact_match"] == 0.25


def test_intervals_hold_their_means_and_stay_within_the_scale() -> None:
    for name, interval in text_intervals(RECORDS).items():
        assert interval.mean == pytest.approx(text_metrics(RECORDS)[name])
        assert 0 <= interval.low <= interval.high <= 100


def test_a_corpus_of_single_words_has_a_score() -> None:
    assert text_metrics([record("pain", "pain"), record("eau", "vin")])["bleu"] > 0


def test_the_signatures_say_which_settings_were_used() -> None:
    found = signatures()
    assert f"version:{sacrebleu.__version__}" in found["bleu"]
    assert "nrefs:1" in found["bleu"]
    assert "tok:13a" in found["bleu"]
    assert "nc:6" in found["chrf"]


def test_without_sacrebleu_it_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(extras, "find_spec", lambda name: None)
    with pytest.raises(UserError, match=r"chrF and BLEU needs sacrebleu.*pip install 'handful\[evals\]'"):
        text_metrics(RECORDS)

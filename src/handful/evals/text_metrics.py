"""Metrics of free text against one reference each: exact match, chrF and BLEU, as sacrebleu computes them.

exact match  share of answers equal to the reference, whitespace around both taken off, nothing else changed
chrF, BLEU   corpus scores from 0 to 100 (Popovic 2015; Papineni et al. 2002); `signatures` says with which settings
             (Post 2018, arXiv 1804.08771). An answer that couldn't be given counts as an empty text.
"""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from handful.evals.extras import load
from handful.evals.intervals import Interval, bootstrap
from handful.evals.metrics import Values

_PURPOSE = "chrF and BLEU"


def exact_matches(records: Sequence[Mapping[str, Any]]) -> list[bool]:
    """Whether each record's prediction is its expected text."""
    return [(record["prediction"] or "").strip() == record["expected"].strip() for record in records]


def text_metrics(records: Sequence[Mapping[str, Any]]) -> Values:
    """All metrics of an open task, by name."""
    said, references = _texts(records)
    chrf, bleu = (metric.corpus_score(said, [references]).score for metric in _scorers())
    return {"exact_match": float(np.mean(exact_matches(records))), "chrf": float(chrf), "bleu": float(bleu)}


def text_intervals(records: Sequence[Mapping[str, Any]]) -> dict[str, Interval]:
    """The bootstrap over the queries. Corpus scores are sums over sentences, so a sample needs no text read again."""
    right = np.array(exact_matches(records), dtype=np.float64)
    said, references = _texts(records)
    scorers = _scorers()
    # sacrebleu's own bootstrap gives no percentiles and mixes number types that Python's mean refuses.
    sums = [np.array(metric._extract_corpus_statistics(said, [references])) for metric in scorers]

    def measure(index: NDArray[Any]) -> Values:
        chrf, bleu = (
            float(metric._compute_score_from_stats(rows[index].sum(axis=0).tolist()).score)
            for metric, rows in zip(scorers, sums, strict=True)
        )
        return {"exact_match": float(right[index].mean()), "chrf": chrf, "bleu": bleu}

    return bootstrap(len(records), measure)


def signatures() -> dict[str, str]:
    """sacrebleu's signatures: what another tool must do to get the same scores."""
    metrics = _scorers()
    for metric in metrics:
        metric.corpus_score(["a b c d"], [["a b c d"]])  # the signature counts references, so it needs to see some
    return {name: str(metric.get_signature()) for name, metric in zip(("chrf", "bleu"), metrics, strict=True)}


def _texts(records: Sequence[Mapping[str, Any]]) -> tuple[list[str], list[str]]:
    said = [(record["prediction"] or "").strip() for record in records]
    return said, [record["expected"].strip() for record in records]


def _scorers() -> tuple[Any, Any]:
    metrics = load("sacrebleu.metrics", _PURPOSE)
    # Answers are short: without the effective order, a corpus of answers under four words would always score 0.
    return metrics.CHRF(), metrics.BLEU(effective_order=True)

"""The search: what is tried, how it narrows, what is kept when it is stopped, and the check that it is right."""

from collections import Counter
from collections.abc import Sequence
from typing import Any

import pytest

from handful.errors import InvalidInputError, InvalidParameterError
from handful.evals.data import Item
from handful.evals.tune import Search
from handful.evals.tune_cost import cost_of
from handful.evals.tune_space import Candidate, Space, candidates
from handful.learn.named import Provided
from handful.task.task import Task
from tests.fakes import FakeBackend
from tests.unit.learn.encoders import NamedNgrams
from tests.unit.learn.structured import LABELS, StructuredBackend, examples, inputs, task

OWN = task().with_examples(examples(2, start=1000)).replace(calibration="none")


def items(num_each: int, start: int = 0) -> list[Item]:
    return [
        Item(f"row {text}", {"text": text}, label)
        for label in LABELS
        for text in inputs(label, range(start, start + num_each))
    ]


POOL = items(20, start=500)


def tried(**choices: Any) -> list[Candidate]:
    return candidates(Space(**{"templates": (OWN,), "shots": (2, 4)} | choices), POOL)


def run(search: Search) -> Search:
    for _ in search.run():
        pass
    return search


def test_the_task_as_it_is_comes_first_and_every_candidate_once() -> None:
    found = tried(most=1000, words=({"good": "fine"},))
    assert found[0].task == OWN
    assert len({candidate.task.fingerprint for candidate in found}) == len(found)
    # own examples and 2 x 4 drawn sets, each in 2 orders, with 4 calibrations and 2 word sets
    assert 50 < len(found) <= (1 + 2 * 4) * 2 * 4 * 2
    assert len(tried(most=7)) == 7


def test_every_candidate_is_a_task_of_the_same_name_with_its_own_words() -> None:
    for candidate in tried(most=40, words=({"good": "fine"},)):
        labels = candidate.task.labels
        assert candidate.task.name == OWN.name
        assert labels in ((LABELS), ("bad", "fine"))
        assert {example.output for example in candidate.task.examples} <= set(labels)
        assert candidate.expected(POOL[-1]) == labels[1]


def test_the_same_choices_give_the_same_candidates() -> None:
    assert [each.task for each in tried(most=9)] == [each.task for each in tried(most=9)]
    assert [each.task for each in tried(most=9)] != [each.task for each in tried(most=9, seed=1)]


@pytest.mark.parametrize(
    ("choices", "said"),
    [
        ({"words": ({"nice": "x"},)}, "`nice`, which is no label"),
        ({"words": ({"good": "bad"},)}, "one word stand for two"),
        ({"most": 0}, "most"),
    ],
)
def test_a_choice_that_cannot_be_is_named(choices: dict[str, Any], said: str) -> None:
    with pytest.raises(InvalidParameterError, match=said):
        tried(**choices)


def test_another_wording_has_the_same_labels_and_variables() -> None:
    with pytest.raises(InvalidInputError, match="other labels or variables"):
        tried(templates=(OWN, OWN.replace(name="b", input="Text: {other}", examples=())))


def test_half_of_the_candidates_go_on_with_twice_the_queries() -> None:
    search = Search(tried(most=16), items(100), StructuredBackend())
    assert search.rounds == [(16, 32), (8, 64), (4, 128), (2, 140)]
    run(search)
    assert Counter(len(each.right) for each in search.standings) == {32: 8, 64: 4, 128: 2, 140: 2}
    assert len(search.original.right) == 140


def test_no_more_is_asked_than_was_planned() -> None:
    search = Search(tried(most=16), items(100), StructuredBackend())
    steps = list(search.run())
    assert steps[-1].num_asked + 2 * 60 == steps[-1].num_planned == search.num_planned


def test_what_takes_the_bias_out_is_found_and_holds_on_rows_that_had_no_part() -> None:
    search = run(Search(tried(most=16), items(100), StructuredBackend(score_signal=2.0, bias=4.0)))
    assert search.best.accuracy > search.original.accuracy
    original, best = search.check()
    assert (len(original.right), len(best.right)) == (60, 60)
    assert best.accuracy > original.accuracy + 0.1


def test_rows_that_choose_have_no_part_in_the_check() -> None:
    search = Search(tried(most=2), items(50), StructuredBackend())
    chosen, test = ({item.place for item in part} for part in (search._queries, search._test))
    assert (len(chosen), len(test), chosen & test) == (70, 30, set())


def test_a_search_that_is_left_has_the_best_so_far() -> None:
    search = Search(tried(most=16), items(100), StructuredBackend(score_signal=2.0, bias=4.0))
    for step in search.run():
        if step.num_asked >= 32 * 16:
            break
    assert search.best.right
    assert search.best.rank >= search.original.rank
    assert step.best is search.best


def test_nothing_better_leaves_the_task_as_it_is() -> None:
    search = run(
        Search(
            tried(most=8, predictors=("plain",), words=({"good": "x"},)),
            items(60),
            StructuredBackend(score_signal=9.0),
        )
    )
    assert search.best is search.original
    original, best = search.check()
    assert best is original


def test_a_task_answered_in_free_text_is_tuned_by_exact_match() -> None:
    own = Task(name="shout", input="Say: {text}", output="Loud: {output}")
    rows = [Item(f"row {i}", {"text": f"word {i}"}, f"WORD {i}") for i in range(20)]
    pool = [Item("row x", {"text": "x"}, "X"), Item("row y", {"text": "y"}, "Y")]
    found = candidates(Space(templates=(own,), shots=(1, 2), num_sets=2), pool)
    assert {candidate.task.calibration for candidate in found} == {"auto"}
    search = run(Search(found, rows, FakeBackend()))
    assert (search.best.accuracy, search.best.losses) == (1.0, [])


def test_readings_that_learn_are_candidates_beside_those_of_a_task_file() -> None:
    found = tried(most=1000, predictors=("plain", "contextual", "knn", "auto"))
    assert {candidate.predictor for candidate in found} == {"task", "knn", "auto"}
    told = {candidate.made_of["predictor"]: candidate for candidate in found}
    assert told["contextual"].task.calibration == "contextual"
    assert len({candidate.key for candidate in found}) == len(found)


def test_a_reading_that_there_is_not_is_named() -> None:
    with pytest.raises(InvalidParameterError, match="`--predictor` can't be `knnn`"):
        tried(predictors=("knnn",))


def test_a_reading_of_hidden_states_is_found_where_the_label_words_say_nothing() -> None:
    backend = StructuredBackend(score_signal=0.0, state_signal=2.0)
    choices = {"shots": (16,), "num_sets": 2, "num_orders": 1, "predictors": ("task", "plain", "centroid")}
    search = run(Search(tried(most=100, **choices), items(100), backend))
    assert search.best.candidate.predictor == "centroid"
    original, best = search.check()
    assert best.accuracy > original.accuracy + 0.2


def test_a_reading_without_the_examples_it_needs_is_left_out_and_says_why() -> None:
    search = run(Search(tried(most=1000, shots=(4,), predictors=("plain", "knn")), items(40), StructuredBackend()))
    left_out = [standing for standing in search.standings if standing.left_out]
    assert {standing.candidate.predictor for standing in left_out} == {"knn"}
    assert all("kNN needs 3 examples of every label" in standing.left_out for standing in left_out)
    assert all(not standing.right for standing in left_out)
    assert search.best not in left_out
    assert "left_out" in left_out[0].to_dict()


def test_a_reading_is_fitted_once_however_often_its_candidate_is_asked() -> None:
    backend = StructuredBackend(score_signal=0.0, state_signal=2.0)
    choices = {"shots": (16,), "num_sets": 1, "num_orders": 1, "predictors": ("centroid",)}
    search = run(Search(tried(most=100, **choices), items(100), backend))
    candidate = next(one.candidate for one in search.standings if one.candidate.predictor != "task" and one.right)
    backend.calls.clear()
    assert search.reading(candidate) is search.reading(candidate)
    assert backend.calls == []


def test_the_cost_counts_what_readings_are_fitted_with() -> None:
    backend, queries = StructuredBackend(), items(100)
    found = tried(most=1000, shots=(16,), num_sets=1, num_orders=1, predictors=("channel", "batch"))
    search = Search(found, queries, backend)
    cost = cost_of(search, found, queries, backend)
    # own examples: task as it is 1, channel 2 labels, batch 1 call a query; drawn: channel 2, batch 1
    assert cost.num_calls == pytest.approx(search.num_planned * (1 + 2 + 1 + 2 + 1) / 5 + 2 * 64, abs=1)


def test_the_cost_counts_calls_and_tokens_before_anything_is_searched() -> None:
    backend, queries = StructuredBackend(), items(100)
    found = tried(most=16)
    search = Search(found, queries, backend)
    cost = cost_of(search, found, queries, backend)
    num_probes = {"auto": 23, "none": 0, "contextual": 3, "domain": 20}
    assert cost.num_calls == search.num_planned + sum(num_probes[one.task.calibration] for one in found)
    assert cost.num_tokens > cost.num_calls * 10  # a byte is a token here
    assert _num_asked(backend.calls) < 12
    assert (cost.num_candidates, cost.num_timed) == (16, 8)
    assert any("candidates" in line for line in cost.lines())


def _num_asked(calls: Sequence[tuple[str, int]]) -> int:
    return sum(count for method, count in calls if method == "score")


def test_nearest_examples_and_the_encoder_are_candidates_like_others() -> None:
    backend = StructuredBackend(score_signal=0.0, bias=4.0)
    choices = {"shots": (24,), "predictors": ("plain", "nearest", "nearest by encoder", "encoder"), "num_orders": 3}
    found = tried(most=1000, **choices)
    kinds = Counter(str(one.made_of["predictor"]) for one in found if one.made_of["examples"] != "its own")
    # 4 sets in 3 orders; which examples are nearest doesn't depend on the order that they are given in
    assert kinds == {"plain": 12, "nearest": 4, "nearest by encoder": 4, "encoder": 4}
    search = run(Search(found, items(60), backend, Provided(encoder=NamedNgrams(dim=1024))))
    assert search.best.candidate.predictor == "encoder"  # the label words say nothing
    assert search.best.accuracy > 0.9
    left_out = {str(one.candidate.made_of["predictor"]) for one in search.standings if one.left_out}
    assert left_out == {"nearest", "nearest by encoder"}  # with the task's own four examples


def test_free_text_is_tuned_over_nearest_examples() -> None:
    own = task(labels=()).with_examples(examples(2, start=1000))
    space = Space(templates=(own,), shots=(12,), predictors=("generate", "nearest"))
    found = candidates(space, POOL)
    assert {one.predictor for one in found} == {"task", "nearest"}
    search = run(Search(found, items(30), FakeBackend()))
    assert all(standing.right for standing in search.standings if not standing.left_out)
    assert search.reading(found[0]).name == "generate"


def test_the_cost_counts_the_examples_that_each_query_is_shown() -> None:
    shots, backend = 20, StructuredBackend()
    found = tried(most=1000, shots=(shots,), num_sets=1, num_orders=1, predictors=("nearest",))
    only = [one for one in found if one.predictor == "nearest" and one.made_of["examples"] != "its own"]
    search = Search(only, items(40), backend)
    cost = cost_of(search, only, items(40), backend)
    backend.calls.clear()
    backend.prompts.clear()
    run(search).check()
    asked = [text for text in backend.prompts if "Label:" in text]
    assert cost.num_calls >= len(asked)
    computed = sum(map(backend.count_tokens, asked))
    assert 0.8 * computed < cost.num_tokens < 1.5 * computed
    plain = tried(most=1000, shots=(shots,), num_sets=1, predictors=("plain",))[-1:]
    assert cost.num_tokens > 4 * cost_of(Search(plain, items(40), backend), plain, items(40), backend).num_tokens


def test_an_encoders_head_costs_no_call() -> None:
    found = [one for one in tried(most=1000, shots=(20,), predictors=("encoder",)) if one.predictor == "encoder"]
    backend = StructuredBackend()
    cost = cost_of(Search(found, items(40), backend, Provided(encoder=NamedNgrams())), found, items(40), backend)
    assert (cost.num_calls, cost.num_tokens) == (0, 0)

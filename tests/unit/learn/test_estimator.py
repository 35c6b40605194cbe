"""The contract of a scikit-learn classifier, for texts (scikit-learn's own checks run nothing for text input)."""

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pandas
import pytest
from sklearn.base import clone, is_classifier
from sklearn.exceptions import NotFittedError
from sklearn.model_selection import GridSearchCV, cross_val_score
from sklearn.pipeline import Pipeline
from sklearn.preprocessing import FunctionTransformer

from handful.errors import InvalidInputError, InvalidParameterError
from handful.learn.estimator import FewShotClassifier
from handful.learn.recipe import RECIPES
from tests.fakes import FakeBackend
from tests.unit.learn.structured import StructuredBackend, inputs

X = inputs("bad", range(7)) + inputs("good", range(7))
Y = ["bad"] * 7 + ["good"] * 7
QUERIES = inputs("bad", range(50, 70)) + inputs("good", range(50, 70))
TRUE = np.array(["bad"] * 20 + ["good"] * 20)


def classifier(**parameters: Any) -> FewShotClassifier:
    model = parameters.pop("model", None) or StructuredBackend(score_signal=2.0, bias=1.0)
    return FewShotClassifier(model, input="Text: {text}", **{"recipe": "calibrated", **parameters})


def test_fit_returns_itself_and_learns_the_classes() -> None:
    made = classifier()
    assert made.fit(X, Y) is made
    assert made.classes_.tolist() == ["bad", "good"]
    assert (made.predict(QUERIES) == TRUE).mean() > 0.85
    assert made.score(QUERIES, TRUE) > 0.85
    assert is_classifier(made)


def test_making_one_only_stores_what_was_given() -> None:
    made = FewShotClassifier("anything", recipe="nonsense", random_state=-1)  # type: ignore[arg-type]
    assert {name: value for name, value in vars(made).items() if name != "model"} == {
        name: value for name, value in made.get_params().items() if name != "model"
    }


def test_parameters_can_be_read_and_set() -> None:
    made = classifier().set_params(num_shown=2)
    assert made.get_params()["num_shown"] == 2
    with pytest.raises(ValueError, match="shots"):
        made.set_params(shots=3)


def test_a_clone_shares_the_model_and_is_not_fitted() -> None:
    made = classifier(label_words={"bad": "bad"}).fit(X, Y)
    copied = clone(made)
    assert copied.model is made.model
    assert copied.get_params()["label_words"] == {"bad": "bad"}
    assert copied.label_words is not made.label_words
    assert not hasattr(copied, "classes_")


@pytest.mark.parametrize("method", ["predict", "predict_proba"])
def test_asking_before_fitting_is_refused(method: str) -> None:
    with pytest.raises(NotFittedError):
        getattr(classifier(), method)(X)


@pytest.mark.parametrize("recipe", ["auto", *(recipe.name for recipe in RECIPES)])
def test_predict_is_the_argmax_of_the_probabilities_for_every_recipe(recipe: str) -> None:
    made = classifier(recipe=recipe).fit(X, Y)
    found = made.predict_proba(QUERIES)
    assert found.shape == (40, 2)
    assert found.sum(axis=1) == pytest.approx(np.ones(40))
    assert (made.predict(QUERIES) == made.classes_[found.argmax(axis=1)]).all()


@pytest.mark.parametrize(
    ("given", "words"),
    [
        ([0] * 7 + [1] * 7, {0: "bad", 1: "good"}),
        ([1] * 7 + [0] * 7, {1: "bad", 0: "good"}),
        ([True] * 7 + [False] * 7, {True: "bad", False: "good"}),
        (["z"] * 7 + ["a"] * 7, {"z": "bad", "a": "good"}),
        (np.array(["bad"] * 7 + ["good"] * 7, dtype=object), None),
    ],
)
def test_columns_and_classes_agree_for_every_kind_and_order_of_classes(given: Any, words: Any) -> None:
    made = classifier(label_words=words).fit(X, given)
    assert made.classes_.tolist() == sorted(set(given))
    true = np.array(list(given))[[0] * 20 + [7] * 20]
    assert (made.predict(QUERIES) == true).mean() > 0.85
    column = made.classes_.tolist().index(true[0])
    assert made.predict_proba(QUERIES)[:20, column].mean() > 0.5


def test_an_answer_does_not_depend_on_the_other_texts() -> None:
    made = classifier(recipe="auto").fit(X, Y)
    together = made.predict_proba(QUERIES[:6])
    assert together == pytest.approx(np.concatenate([made.predict_proba([text]) for text in QUERIES[:6]]))
    assert made.predict_proba(QUERIES[:6][::-1]) == pytest.approx(together[::-1])


def test_no_texts_give_no_answers() -> None:
    made = classifier().fit(X, Y)
    assert made.predict([]).shape == (0,)
    assert made.predict_proba([]).shape == (0, 2)


def test_it_works_in_a_pipeline() -> None:
    strip = FunctionTransformer(lambda texts: [text.strip() for text in texts])
    pipeline = Pipeline([("strip", strip), ("read", classifier())])
    assert pipeline.fit(X, Y).score([f" {text} " for text in QUERIES], TRUE) > 0.85
    assert clone(pipeline).named_steps["read"].model is pipeline.named_steps["read"].model


def test_it_works_in_a_grid_search_and_in_cross_validation() -> None:
    search = GridSearchCV(classifier(), {"recipe": ["plain", "calibrated"], "num_shown": [2, 4]}, cv=2)
    assert search.fit(X, Y).best_score_ > 0.5
    assert len(cross_val_score(classifier(), np.array(X, dtype=object), Y, cv=3)) == 3


def test_a_choice_is_told() -> None:
    made = classifier(recipe="auto").fit(X, Y)
    assert made.choice_.recipe in {recipe.name for recipe in RECIPES}
    assert made.choice_.num_passes == made.predictor_.num_passes


def test_a_threshold_for_a_wanted_precision_comes_from_the_held_out_examples() -> None:
    made = classifier(model=StructuredBackend(score_signal=6.0)).fit(
        inputs("bad", range(40)) + inputs("good", range(40)), ["bad"] * 40 + ["good"] * 40
    )
    found = made.threshold_for(0.8)
    assert found.lower_bound >= 0.8
    assert found.num_tried == made.choice_.expected.num_tried > 30
    sure = made.predict_or_abstain(QUERIES, found, otherwise="ask a person")
    is_sure = sure != "ask a person"
    assert (sure[is_sure] == TRUE[is_sure]).mean() > 0.8
    assert is_sure.mean() > 0.5


def test_too_few_examples_promise_no_precision_and_it_says_how_many_it_takes() -> None:
    with pytest.raises(InvalidInputError, match=r"It takes at least .* all right"):
        classifier().fit(X, Y).threshold_for(0.99)


def test_below_the_threshold_there_is_no_answer() -> None:
    made = classifier().fit(X, Y)
    assert made.predict_or_abstain(QUERIES, 0.0).tolist() == made.predict(QUERIES).tolist()
    assert made.predict_or_abstain(QUERIES[:2], 1.0).tolist() == [None, None]
    assert made.predict_or_abstain([], 0.5).shape == (0,)
    with pytest.raises(InvalidParameterError, match="threshold"):
        made.predict_or_abstain(QUERIES, 1.5)


def test_a_synonym_counts_for_its_class_and_is_saved(tmp_path: Path) -> None:
    def logprob(prompt: str, continuation: str) -> float:
        asked = prompt.rpartition("Text: ")[2].split()[0]
        return -1.0 if (asked, continuation.strip()) in (("bad", "awful"), ("good", "good")) else -4.0

    model = FakeBackend(context_length=100_000, logprob=logprob)
    made = classifier(model=model, recipe="plain", synonyms={"bad": ["awful", "poor"]}).fit(X, Y)
    found = made.predict_proba(["bad 99", "good 99"])
    # exp(-1) of the synonym and exp(-4) of the other two words of its class, against exp(-4)
    odds = (np.exp(-1) + 2 * np.exp(-4)) / np.exp(-4)
    assert found[0, 0] / found[0, 1] == pytest.approx(odds**made.predictor_.sharpness)
    made.save(tmp_path)
    loaded = FewShotClassifier.load(tmp_path, model)
    assert loaded.synonyms == {"bad": ["awful", "poor"]}
    assert loaded.predict_proba(["bad 99", "good 99"]) == pytest.approx(found)


def test_texts_that_were_given_twice_are_told() -> None:
    made = classifier().fit([*X, X[0]], [*Y, "good"])
    assert [str(one) for one in made.repetitions_] == [
        "Examples 1 and 15 have the same input and different outputs, `bad` and `good`."
    ]


def test_plain_asks_one_prompt_of_all_examples() -> None:
    made = classifier(recipe="plain").fit(X, Y)
    assert (made.choice_.num_prompts, made.choice_.num_shown) == (1, 14)


@pytest.mark.parametrize(
    ("texts", "given", "named"),
    [
        ("a text", ["bad"], "must be a list"),
        (["a", 3], ["bad", "good"], "Row 2 of 2 must be text, not int"),
        (["a", None], ["bad", "good"], "Row 2 of 2"),
        (["a", " "], ["bad", "good"], "Row 2 of 2 is empty"),
        (["a", "b"], ["bad"], "2 texts and 1 classes"),
        (["a", "b"], ["bad", "bad"], "All texts have the class 'bad'. Give texts of at least two"),
        (["a", "b"], ["bad", None], "Row 2 has no class"),
        (["a", "b"], ["bad", float("nan")], "Row 2 has no class"),
        ([], [], "no texts"),
        ([["a", "b"]], ["bad"], "2 cells"),
        (["a", "b"], [["bad"], ["good", "x"]], "Row 2 has 2 cells; classes are one column"),
        (["a", "b"], ["bad", 1], "different types"),
    ],
)
def test_bad_input_is_named(texts: Any, given: Any, named: str) -> None:
    with pytest.raises(InvalidInputError, match=named):
        classifier().fit(texts, given)


@pytest.mark.parametrize(
    ("parameters", "named"),
    [
        ({"model": "default"}, "handful.load"),
        ({"recipe": "autp"}, "Did you mean `auto`"),
        ({"random_state": None}, "random_state"),
        ({"num_shown": 0}, "num_shown"),
        ({"num_prompts": 0}, "num_prompts"),
        ({"label_words": {"ugly": "ugly"}}, "'ugly', which is no class"),
        ({"synonyms": {"ugly": ["ugly"]}}, "synonyms.*'ugly', which is no class"),
        ({"synonyms": {"bad": "awful"}}, "must be a list of words"),
        ({"synonyms": {"bad": ["good"]}}, "a label itself"),
    ],
)
def test_bad_parameters_are_named_when_it_is_fitted(parameters: dict[str, Any], named: str) -> None:
    with pytest.raises(InvalidParameterError, match=named):
        classifier(**parameters).fit(X, Y)


def test_two_classes_with_one_word_are_refused() -> None:
    with pytest.raises(InvalidParameterError, match="`label_words` lets 'bad' stand for two classes"):
        classifier(label_words={"good": "bad"}).fit(X, Y)


def test_a_class_with_one_example_is_learned_from() -> None:
    fitted = classifier().fit([*X[:3], "bad and the only one"], [*["good"] * 3, "bad"])
    assert fitted.classes_.tolist() == ["bad", "good"]
    assert fitted.predict_proba(QUERIES).sum(axis=1) == pytest.approx(1.0)


def test_a_head_that_needs_more_examples_says_how_many_and_what_else_there_is() -> None:
    named = r"A head needs 6 examples of every label.*the rarest has 1.*use the recipe `calibrated`"
    with pytest.raises(InvalidInputError, match=named):
        classifier(recipe="logistic").fit(["good 1", "good 2", "bad 1"], ["good", "good", "bad"])


def test_importing_handful_does_not_import_scikit_learn() -> None:
    code = "import sys, handful; assert 'sklearn' not in sys.modules and 'numpy' not in sys.modules"
    subprocess.run([sys.executable, "-c", code], check=True)


def test_examples_and_classes_are_added_to_what_it_knows() -> None:
    labels = ("bad", "good", "odd")
    model = StructuredBackend(labels=labels, score_signal=2.0)
    made = classifier(model=model).fit(X, Y)
    assert made.add(inputs("odd", range(7)), ["odd"] * 7) is made
    assert made.classes_.tolist() == list(labels)
    odd = inputs("odd", range(50, 70))
    assert (made.predict(odd) == "odd").mean() > 0.85
    at_once = classifier(model=model).fit([*X, *inputs("odd", range(7))], [*Y, *["odd"] * 7])
    assert made.predict_proba(odd).tolist() == at_once.predict_proba(odd).tolist()
    assert made.examples_ == at_once.examples_


def test_a_loaded_classifier_is_added_to_and_saved_again(tmp_path: Path) -> None:
    model = StructuredBackend(score_signal=2.0)
    numbers = [int(one == "good") for one in Y]
    classifier(model=model).fit(X, numbers).save(tmp_path)
    loaded = FewShotClassifier.load(tmp_path, model)
    loaded.add(pandas.Series(["good 100"]), np.array([1])).save(tmp_path)
    again = FewShotClassifier.load(tmp_path, model)
    assert again.examples_ == (*zip(X, numbers, strict=True), ("good 100", 1))
    assert again.predict_proba(QUERIES) == pytest.approx(loaded.predict_proba(QUERIES))


def test_what_cannot_be_added_is_named_and_leaves_it_as_it_was(tmp_path: Path) -> None:
    made = classifier().fit(X, Y)
    before = made.predict_proba(QUERIES)
    for texts, given, named in (
        (["a"], ["bad", "bad"], "1 texts and 2 classes"),
        (["a", " "], ["bad", "bad"], "Row 2 of 2 is empty"),
        (["a"], [None], "Row 1 has no class"),
        (["a"], [3], "different types"),
    ):
        with pytest.raises(InvalidInputError, match=named):
            made.add(texts, given)
    assert made.predict_proba(QUERIES).tolist() == before.tolist()
    with pytest.raises(NotFittedError):
        classifier().add(X, Y)
    made.save(tmp_path)
    path = tmp_path / "classifier.json"
    content = json.loads(path.read_text())
    del content["examples"]
    path.write_text(json.dumps(content))
    with pytest.raises(InvalidInputError, match="saved without the examples"):
        FewShotClassifier.load(tmp_path, made.model).add(["a"], ["bad"])  # type: ignore[arg-type]

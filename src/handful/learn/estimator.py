"""`FewShotClassifier`: a scikit-learn estimator for texts, on any backend.

Invariant: `predict(X) == classes_[predict_proba(X).argmax(axis=1)]`, and the answer for one text doesn't depend on
the other texts of the call, nor on what was asked before (`answered`).
"""

import copy
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray
from sklearn.base import BaseEstimator, ClassifierMixin
from sklearn.utils.validation import check_is_fitted

from handful.backend import Backend
from handful.errors import InvalidInputError, InvalidParameterError
from handful.learn import saved
from handful.learn.answered import Answered
from handful.learn.auto import fit_auto
from handful.learn.choice import Choice
from handful.learn.columns import classes_and_codes, classes_of_rows, texts_of
from handful.learn.ensemble import EnsemblePredictor
from handful.learn.estimator_parameters import settings_of, task_of
from handful.learn.ngrams import Encoder
from handful.learn.predictor import check_threshold
from handful.learn.probability import Matrix
from handful.learn.progress import show_steps
from handful.learn.threshold import Threshold, threshold_for
from handful.task.review import repetitions
from handful.task.task import Example

_SHARED = ("model", "encoder")
_MAPPINGS = ("label_words", "synonyms")


class FewShotClassifier(ClassifierMixin, BaseEstimator):  # type: ignore[misc]  # scikit-learn has no types
    """Classifies texts with a language model that is shown a few labelled ones and read with the others.

    model        a `Backend`, such as `handful.load()` gives; copies of the estimator share it
    input        the layout of a text in the prompt, with the one variable {text}
    output       the layout of its label below it, with {output}
    label_words  class -> the word that the model reads for it; a class that isn't named is written with `str`
    synonyms     class -> further words that mean it, read beside its own; their probabilities are added
    encoder      an encoder of texts, such as `handful.local.encoder.load_encoder()` gives: "auto" then also tries
                 heads on its vectors; copies of the estimator share it, too
    encoder_steps  steps of tuning the encoder with the labelled texts (one of `load_encoder` can be tuned), each of 16
                 texts; 0 leaves it as it is. It is tuned four times, three of them for the evidence
    prompt_epochs  how often each labelled text is read while three prompts are tuned with them, minutes on a processor;
                 5 is good, 0 tunes none. "auto" takes them where they say more of held-out texts than what it
                 would take otherwise. Needs a model in this process and 32 texts of every class, and no `synonyms`
    recipe       "auto" chooses by cross-validation; or the name of one of `handful.learn.recipe.RECIPES`
    num_shown    examples in one prompt. None: all where no head is to learn from the others, and else 4 to 8
    num_prompts  most prompts that are averaged (None: 2, 4 with 16 examples of every class, and 1 for the recipe
                 "plain"); more cost more time a query
    num_deals    deals of examples that are compared for the best `num_prompts` (None: two more than these, and 1 for
                 the recipe "plain"); more cost more time in fitting, and none a query
    separator    what ends an example in the prompt
    random_state which examples are shown, and in which order: a whole number
    verbose      show a progress bar while an encoder or prompts are tuned: on a terminal's standard error, or in a
                 notebook

    After `fit`: `classes_` (sorted), `choice_` (what was chosen and what accuracy to expect), `predictor_`, `examples_`
    (texts and their classes) and `repetitions_` (texts that were given twice, with the same class or different ones).
    """

    def __init__(
        self,
        model: Backend | None = None,
        *,
        input: str = "Input: {text}",  # noqa: A002  the word of a task file
        output: str = "Label: {output}",
        description: str = "",
        separator: str = "\n\n",
        label_words: Mapping[Any, str] | None = None,
        synonyms: Mapping[Any, Sequence[str]] | None = None,
        encoder: Encoder | None = None,
        encoder_steps: int = 0,
        prompt_epochs: int = 0,
        recipe: str = "auto",
        num_shown: int | None = None,
        num_prompts: int | None = None,
        num_deals: int | None = None,
        random_state: int = 0,
        verbose: bool = False,
    ) -> None:
        self.model = model
        self.input = input
        self.output = output
        self.description = description
        self.separator = separator
        self.label_words = label_words
        self.synonyms = synonyms
        self.encoder = encoder
        self.encoder_steps = encoder_steps
        self.prompt_epochs = prompt_epochs
        self.recipe = recipe
        self.num_shown = num_shown
        self.num_prompts = num_prompts
        self.num_deals = num_deals
        self.random_state = random_state
        self.verbose = verbose

    # scikit-learn's own names
    def fit(self, X: Any, y: Any, unlabelled: Any = None) -> Self:
        """Learn from texts and their classes; `unlabelled` are further texts like those to come.

        X is a list, an array, a Series or a frame of one column. Raises InvalidInputError naming the row, and
        InvalidParameterError.
        """
        backend = self._backend()
        texts = texts_of(X)
        classes, codes = classes_and_codes(y, len(texts))
        task = task_of(self, classes)
        examples = [Example({"text": text}, task.labels[code]) for text, code in zip(texts, codes, strict=True)]
        unknown = [] if unlabelled is None else texts_of(unlabelled)
        tuned = [
            name for name, count in (("the encoder", self.encoder_steps), ("prompts", self.prompt_epochs)) if count
        ]
        with show_steps(f"tuning {' and '.join(tuned)}", is_wanted=bool(self.verbose and tuned)) as advance:
            settings = replace(settings_of(self, classes, task.labels), advance=advance)
            predictor, choice = fit_auto(task, backend, examples, settings, unlabelled=unknown)
        self.classes_ = classes
        self.examples_: tuple[saved.Labelled, ...] | None = tuple(zip(texts, classes[codes].tolist(), strict=True))
        self.repetitions_ = repetitions(examples)
        self.choice_: Choice = choice
        self.predictor_: EnsemblePredictor = predictor
        self._answered = Answered()
        return self

    def add(self, X: Any, y: Any, unlabelled: Any = None) -> Self:
        """Learn from further texts, whose classes may be new, beside those that it knows (`examples_`).

        Prompts that stay as they were are in the model's cache: it takes seconds, but for what is tuned. Answers
        may change. Raises what `fit` does, and leaves the classifier as it was.
        """
        check_is_fitted(self)
        if self.examples_ is None:
            problem = "This classifier was saved without the examples that it learned from."
            raise InvalidInputError(problem, fix="Fit it anew, with old and new ones.")
        texts, given = texts_of(X), classes_of_rows(y)
        if len(texts) != len(given):
            raise InvalidInputError(f"There are {len(texts)} texts and {len(given)} classes.")
        known, classes = zip(*self.examples_, strict=True)
        return self.fit([*known, *texts], [*classes, *given], unlabelled)

    def predict_proba(self, X: Any) -> Matrix:
        """`[n, classes]`, columns in the order of `classes_`, rows summing to 1."""
        check_is_fitted(self)
        return self._answered.rows(texts_of(X), self.predictor_.probabilities)

    def predict(self, X: Any) -> NDArray[Any]:
        """The most probable class of each text."""
        columns = self.predict_proba(X).argmax(axis=1)
        answers: NDArray[Any] = self.classes_[columns]
        return answers

    def threshold_for(self, precision: float, *, confidence: float = 0.95) -> Threshold:
        """From which probability on `precision` of the answers are right, by the evidence of the fit.

        Raises InvalidInputError where the labelled examples are too few to promise it, saying how many it takes.
        """
        check_is_fitted(self)
        found = self.choice_
        return threshold_for(found.confidences, found.is_right, precision, confidence=confidence)

    def predict_or_abstain(self, X: Any, threshold: float | Threshold, otherwise: Any = None) -> NDArray[Any]:
        """Like `predict`, with `otherwise` for texts whose class is less probable than the threshold."""
        least = threshold.value if isinstance(threshold, Threshold) else threshold
        check_threshold(least)
        rows = self.predict_proba(X)
        answers = np.full(len(rows), otherwise, dtype=object)
        is_sure = rows.max(axis=1, initial=0.0) >= least
        answers[is_sure] = self.classes_[rows[is_sure].argmax(axis=1)]
        return answers

    def save(self, folder: str | Path) -> None:
        """Write the fitted classifier to a folder: JSON and safetensors, no pickle, its examples, not the model.

        Raises NotFittedError.
        """
        check_is_fitted(self)
        parameters = {name: value for name, value in self.get_params(deep=False).items() if name not in _SHARED}
        for name in _MAPPINGS:  # JSON's own mappings have text for keys
            parameters[name] = None if parameters[name] is None else list(parameters[name].items())
        saved.save(Path(folder), saved.Saved(parameters, self.classes_, self.predictor_, self.choice_, self.examples_))

    @classmethod
    def load(cls, folder: str | Path, model: Backend, encoder: Encoder | None = None) -> Self:
        """Read a saved classifier; `model` and `encoder` must be those that it was fitted with.

        Raises NotFoundError, InvalidInputError for files that aren't a saved classifier, InvalidParameterError for
        another model.
        """
        found = saved.load(Path(folder), model, encoder)
        parameters = dict(found.parameters)
        for name in _MAPPINGS:
            if parameters.get(name) is not None:
                parameters[name] = dict(parameters[name])
        made = cls(model, encoder=encoder, **parameters)
        made.classes_, made.predictor_, made.choice_ = found.classes, found.predictor, found.choice
        made.examples_ = found.examples
        made._answered = Answered()
        return made

    def __sklearn_clone__(self) -> Self:
        # `clone` deep-copies parameters, and a model is no value: it has threads and gigabytes. Copies share it.
        parameters = self.get_params(deep=False)
        shared = {name: parameters.pop(name) for name in _SHARED}
        return type(self)(**shared, **copy.deepcopy(parameters))

    def __sklearn_tags__(self) -> Any:
        tags = super().__sklearn_tags__()
        tags.input_tags.string = True
        tags.input_tags.two_d_array = False
        return tags

    def _backend(self) -> Backend:
        if self.model is None or isinstance(self.model, str) or not hasattr(self.model, "score"):
            problem = f"must be a model that is loaded, not {self.model!r}."
            raise InvalidParameterError("model", problem, fix="Write FewShotClassifier(handful.load(...)).")
        return self.model

import numpy as np
import pytest

from handful.errors import InvalidInputError
from handful.learn.answered import Answered
from handful.learn.estimator import FewShotClassifier
from handful.learn.probability import Matrix
from tests.unit.learn.structured import StructuredBackend, inputs


class Wavering:
    """Answers a text a little differently each time that it is asked, as a model does whose cache has changed."""

    def __init__(self) -> None:
        self.asked: list[list[str]] = []

    def __call__(self, texts: list[str]) -> Matrix:
        self.asked.append(texts)
        return np.array([[len(self.asked), len(text)] for text in texts], dtype=np.float64).reshape(-1, 2)


def test_a_text_is_asked_once_and_its_answer_stays() -> None:
    ask, answered = Wavering(), Answered()
    first = answered.rows(["a", "bb", "a"], ask)
    assert first.tolist() == [[1, 1], [1, 2], [1, 1]]
    assert answered.rows(["ccc", "bb"], ask).tolist() == [[2, 3], [1, 2]]
    assert ask.asked == [["a", "bb"], ["ccc"]]


def test_no_texts_have_no_rows() -> None:
    assert Answered().rows([], Wavering()).shape == (0, 2)


def test_the_texts_of_the_last_call_are_remembered_however_many_they_are() -> None:
    ask, answered = Wavering(), Answered(most=3)
    many = [str(number) for number in range(10)]
    assert answered.rows(many, ask).tolist() == answered.rows(many, ask).tolist()
    answered.rows(["another", *many[:2]], ask)  # there are too many: what this call doesn't name is let go
    assert ask.asked == [many, ["another"]]
    answered.rows(["another", "0", "1", "9"], ask)
    assert ask.asked[2:] == [["9"]]


def test_what_could_not_be_answered_is_not_remembered() -> None:
    def refuse(_: list[str]) -> Matrix:
        raise InvalidInputError("no")

    answered = Answered()
    with pytest.raises(InvalidInputError):
        answered.rows(["a"], refuse)
    assert answered.rows(["a"], Wavering()).tolist() == [[1, 1]]


def test_predict_is_the_argmax_of_the_probabilities_even_where_the_model_wavers() -> None:
    class Rounding(StructuredBackend):
        """Scores that change sides between two calls, like those of two labels that are nearly tied."""

        def _logprob(self, prompt: str, continuation: str) -> float:
            return 1e-3 * float(continuation.strip() == "bad") * (1 if len(self.calls) % 2 else -1)

    texts = inputs("bad", range(7)) + inputs("good", range(7))
    made = FewShotClassifier(Rounding(), input="Text: {text}", recipe="plain").fit(texts, ["bad"] * 7 + ["good"] * 7)
    asked = inputs("bad", range(50, 60))
    rows = made.predict_proba(asked)
    assert made.predict(asked).tolist() == made.classes_[rows.argmax(axis=1)].tolist()
    assert made.predict_proba(asked[3:4]).tolist() == rows[3:4].tolist()

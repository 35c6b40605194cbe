import subprocess
import sys

import numpy as np

from handful.learn.ngrams import Ngrams, texts_to_compare
from handful.task.task import Task


def similarity(first: str, second: str) -> float:
    one, other = Ngrams().embed([first, second]).astype(np.float64)
    return float(one @ other / (np.linalg.norm(one) * np.linalg.norm(other)))


def test_forms_of_a_word_are_alike_and_strangers_are_not() -> None:
    assert similarity("walking", "talking") > 0.4
    assert similarity("walking", "xyz") < 0.1
    assert similarity("The Cat", "the cat") > 0.999


def test_a_text_of_nothing_is_a_row_of_zeros() -> None:
    assert not Ngrams().embed(["", "  "]).any()
    assert Ngrams().embed([]).shape == (0, 1024)


def test_the_vectors_are_the_same_in_another_process() -> None:
    code = "from handful.learn.ngrams import Ngrams; print(Ngrams().embed(['a joy']).nonzero()[1].tolist())"
    told = subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, text=True).stdout.strip()
    assert told == str(Ngrams().embed(["a joy"]).nonzero()[1].tolist())


def test_the_values_of_several_variables_are_compared_in_the_order_of_the_template() -> None:
    task = Task(name="t", input="{b} and {a}")
    assert texts_to_compare(task, [{"a": "1", "b": "2"}]) == ["2\n1"]

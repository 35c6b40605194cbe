"""What a prompt says of inputs, as a head reads it: hidden states of one layer, or of several side by side."""

import json
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

from handful.errors import InvalidInputError
from handful.learn.estimator import FewShotClassifier
from handful.learn.reading import Reader, layers_to_read
from tests.unit.learn.structured import NUM_FEATURES, StructuredBackend, examples, inputs, task

BAD, GOOD = inputs("bad", range(7)), inputs("good", range(7))
QUERIES = inputs("bad", range(50, 55)) + inputs("good", range(50, 55))


class Layered(StructuredBackend):
    """Ten layers; the state behind one is that of `StructuredBackend`, a hundred times as long and turned round."""

    def __init__(self) -> None:
        super().__init__()
        self.info = replace(self.info, num_layers=10, hidden_size=NUM_FEATURES)

    def embed(self, texts: Sequence[str], *, layer: int | None = None) -> NDArray[np.float32]:
        states = super().embed(texts)
        return states if layer is None else states[:, ::-1] * 100


@pytest.mark.parametrize(
    ("num_layers", "layers"), [(0, (None,)), (1, (None,)), (2, (None,)), (12, (10, None)), (30, (24, None))]
)
def test_a_head_reads_the_last_layer_and_one_further_down(num_layers: int, layers: tuple[int | None, ...]) -> None:
    assert layers_to_read(replace(StructuredBackend().info, num_layers=num_layers)) == layers


def test_states_of_one_layer_are_left_as_they_are() -> None:
    reader = Reader(task().with_examples(examples(2)), Layered())
    assert np.array_equal(reader.hidden_states(BAD), StructuredBackend.embed(Layered(), reader.prompts(BAD)))


def test_states_of_several_layers_stand_side_by_side_equally_long() -> None:
    reader = Reader(task().with_examples(examples(2)), Layered(), layers=(8, None))
    below, last = np.split(reader.hidden_states(BAD), 2, axis=1)
    assert np.allclose(below, last[:, ::-1])
    assert np.allclose(np.linalg.norm(last, axis=1), np.sqrt(NUM_FEATURES))
    assert reader.hidden_states([]).shape == (0, 2 * NUM_FEATURES)


def test_a_saved_classifier_reads_the_layers_that_it_learned_from(tmp_path: Path) -> None:
    made = FewShotClassifier(Layered(), input="Text: {text}").fit(BAD + GOOD, ["bad"] * 7 + ["good"] * 7)
    made.save(tmp_path)
    assert json.loads((tmp_path / "classifier.json").read_text())["members"][0]["layers"] == [8, None]
    read = FewShotClassifier.load(tmp_path, Layered())
    assert read.predict_proba(QUERIES) == pytest.approx(made.predict_proba(QUERIES))


@pytest.mark.parametrize("layers", ["8", [0], [True], [], {"8": 1}])
def test_layers_that_are_none_are_called_damaged(layers: object, tmp_path: Path) -> None:
    made = FewShotClassifier(Layered(), input="Text: {text}").fit(BAD + GOOD, ["bad"] * 7 + ["good"] * 7)
    made.save(tmp_path)
    content = json.loads((tmp_path / "classifier.json").read_text())
    content["members"][0]["layers"] = layers
    (tmp_path / "classifier.json").write_text(json.dumps(content))
    with pytest.raises(InvalidInputError, match="damaged"):
        FewShotClassifier.load(tmp_path, Layered())

"""What the routes of tasks answer, with an example of each. Predictions are `WirePrediction`s of tasks.py."""

from typing import Any

from pydantic import ConfigDict

from handful.protocol.shapes import Example, Shape


class FittedClassifier(Shape):
    """What was chosen when a classifier was fitted, and what accuracy to expect."""

    classes: list[str]
    recipe: Any
    expected: Any


class TaskSummary(Shape):
    """What a task is, its version, and whose it is. One that was named when the server started is read-only."""

    name: str
    description: str
    variables: list[str]
    labels: list[str]
    model: str
    num_examples: int
    version: int
    private: bool
    owner: str | None
    read_only: bool
    classifier: FittedClassifier | None = None


class TaskFile(Shape):
    """A task as its file has it; what stands at its default is left out."""

    model_config = ConfigDict(extra="allow", frozen=True)

    name: str
    model: str
    description: str = ""
    input: str
    output: str
    labels: list[str] | None = None
    parameters: dict[str, Any] | None = None
    examples: list[dict[str, str]] | None = None


class TaskVersion(Shape):
    """A version that is kept; when it was made is in seconds since 1970."""

    version: int
    created_at: int | None
    num_examples: int


class TaskExample(Shape):
    """An example, under the id that removes it."""

    id: str
    example: dict[str, str]


class TaskExamples(Shape):
    """All examples of a version."""

    version: int
    examples: list[TaskExample]


TASK: Example = {
    "name": "sentiment",
    "input": "Review: {text}",
    "output": "Sentiment: {output}",
    "labels": ["positive", "negative"],
    "examples": [{"text": "A joy.", "output": "positive"}, {"text": "Too long.", "output": "negative"}],
}
SUMMARY: Example = {
    "name": "sentiment",
    "description": "",
    "variables": ["text"],
    "labels": ["positive", "negative"],
    "model": "default",
    "num_examples": 2,
    "version": 1,
    "private": False,
    "owner": "ada",
    "read_only": False,
}
PREDICTION: Example = {
    "input": "A joy.",
    "prediction": "positive",
    "probabilities": {"positive": 0.93, "negative": 0.07},
    "num_prompt_tokens": 41,
    "dropped_examples": 0,
}
EXAMPLE: Example = {"id": "0f1e2d3c4b5a6978", "example": {"text": "A joy.", "output": "positive"}}

"""Which model the example of a task is asked of: those that come with handful do a few tasks, others somebody serves.

At /models/{model} `default` continues texts, and `default-embeddings` makes vectors and compares them; where the route
has the task, `default` also classifies by given labels and converses.
"""

from typing import Any

from handful.protocol.nlp_tasks import TEXT_GENERATION

PATH = "x-path"
"""With an example of a body: what stands in the path of its request, by the names of the path's parameters."""
_AT_MODEL = {
    TEXT_GENERATION: "default",
    "feature-extraction": "default-embeddings",
    "sentence-similarity": "default-embeddings",
}
_AT_TASK = _AT_MODEL | {"zero-shot-classification": "default", "conversational": "default"}


def asked_of(task: str, path: str) -> dict[str, Any]:
    """What is said beside the example of a task on a route: in a sentence which model does it, and the path's parts."""
    names = {"task": task} if "{task}" in path else {}
    if "{org}" in path:
        return {"summary": f"A model of yours for {task}.", PATH: names | {"org": "YOUR-ORG", "name": "YOUR-MODEL"}}
    model = (_AT_TASK if names else _AT_MODEL).get(task)
    if model is not None:
        return {"summary": f"{model} does it.", PATH: names | {"name": model}}
    said = f"Not for default: put the name of a model for {task} that you serve."
    if task in _AT_TASK:
        said += f" {_AT_TASK[task]} does it at /models/{_AT_TASK[task]}/pipeline/{task}."
    return {"summary": said, PATH: names | {"name": "YOUR-MODEL"}}

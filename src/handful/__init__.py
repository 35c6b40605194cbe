"""handful: few-shot predictions from a causal language model on your own machine.

    import handful
    model = handful.load("default")
    task = handful.Task.load("examples/sentiment.yaml")
    for prediction in task.predict(model, ["A joy from start to finish."]):
        print(prediction.prediction, prediction.probabilities)

The names below are the public ones. They are imported when they are first used, so that `import handful` is instant.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from handful.backend import AsyncBackend, Backend
    from handful.client import AsyncClient, Client, connect
    from handful.errors import HandfulError
    from handful.learn.estimator import FewShotClassifier
    from handful.local import load
    from handful.task.predict import Prediction
    from handful.task.task import Example, Task
    from handful.types import Completion, Generation, GenerationParameters, ModelInfo, Score

    __version__: str

_HOMES = {
    "AsyncBackend": "handful.backend",
    "AsyncClient": "handful.client",
    "Backend": "handful.backend",
    "Client": "handful.client",
    "Completion": "handful.types",
    "Example": "handful.task.task",
    "FewShotClassifier": "handful.learn.estimator",
    "Generation": "handful.types",
    "GenerationParameters": "handful.types",
    "HandfulError": "handful.errors",
    "ModelInfo": "handful.types",
    "Prediction": "handful.task.predict",
    "Score": "handful.types",
    "Task": "handful.task.task",
    "connect": "handful.client",
    "load": "handful.local",
}

__all__ = [
    "AsyncBackend",
    "AsyncClient",
    "Backend",
    "Client",
    "Completion",
    "Example",
    "FewShotClassifier",
    "Generation",
    "GenerationParameters",
    "HandfulError",
    "ModelInfo",
    "Prediction",
    "Score",
    "Task",
    "connect",
    "load",
]


def __getattr__(name: str) -> Any:
    if name == "__version__":  # of what is installed
        return import_module("importlib.metadata").version("handful")
    if name not in _HOMES:
        raise AttributeError(f"module 'handful' has no attribute {name!r}")
    return getattr(import_module(_HOMES[name]), name)


def __dir__() -> list[str]:
    return __all__

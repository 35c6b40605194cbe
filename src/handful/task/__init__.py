"""Text only: what a task is, how its prompt is rendered, how an answer is read. No tensors, no tokens, no network.

`Task` and `Example` are in `task.py`, `predict`, `apredict`, `stream` and `Prediction` in `predict.py`.
"""

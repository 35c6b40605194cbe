"""Encoders and sequence-to-sequence models in this process, through Transformers: one loaded model, a method a task.

Transformers and torch are imported only when a model is loaded. Code in a checkpoint never runs.
"""

from handful.pipelines.encoder import Encoder

__all__ = ["Encoder"]

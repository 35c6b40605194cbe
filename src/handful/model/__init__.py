"""Tensors: one decoder described by a frozen spec, its checkpoints and its tokenizer."""

"""Text only: what a task is, how its prompt is rendered, how an answer is read. No tensors, no tokens, no network."""

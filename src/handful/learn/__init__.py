"""Predictors that read a closed task better than its plain probabilities: calibration, representation, auto.

They speak to a `Backend` (local or behind a URL) and to tasks, never to an engine, a model's tensors or torch.
scikit-learn is imported where it is first needed, so that importing this package is instant.
"""

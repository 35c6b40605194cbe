"""Tokens in, tokens out: requests, shared segments, the scheduler, and the step that serves them all."""

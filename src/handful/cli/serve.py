"""Placeholder until the command is written."""


def serve() -> None:
    """Not written yet."""

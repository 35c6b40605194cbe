"""Placeholder until the command is written."""


def prompt() -> None:
    """Not written yet."""

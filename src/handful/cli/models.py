"""Placeholder until the command is written."""

import typer

app = typer.Typer(help="Not written yet.")

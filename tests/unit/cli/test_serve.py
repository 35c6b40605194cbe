"""`handful serve` from its options to what is served."""

import importlib.util

import pytest

from handful.cli.serve import _models
from handful.server.precisions import Precisions


def test_without_a_model_both_embedded_ones_are_served() -> None:
    assert _models([], Precisions.read([]))[0] == ["default", "default-embeddings"]


def test_what_could_not_run_here_is_not_served_and_what_is_missing_is_said(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    assert _models([], Precisions.read([]))[0] == ["default"]
    assert "pip install 'handful[transformers]'" in capsys.readouterr().err
    assert _models(["default-embeddings"], Precisions.read([]))[0] == ["default-embeddings"]

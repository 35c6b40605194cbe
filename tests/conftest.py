"""For all tests: one thread for tensors, so that tests that run side by side don't fight over two cores, and a database
of their own for the servers they start, so that none writes to the user's. `HANDFUL_INSTRUCTIONS=avx2` runs them all as
a lesser processor would."""

import os

import pytest
import torch

from handful.config import Settings
from handful.model.ops.native.loading import limit_instructions

torch.set_num_threads(1)
limit_instructions(Settings().instructions)  # `settings` would keep what it read before the fixture below


@pytest.fixture(scope="session", autouse=True)
def _own_database(tmp_path_factory: pytest.TempPathFactory) -> None:
    os.environ["HANDFUL_DATABASE_URL"] = f"sqlite:///{tmp_path_factory.mktemp('database')}/handful.db"

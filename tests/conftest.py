"""For all tests: one thread for tensors, so that tests that run side by side don't fight over two cores, and a database
of their own for the servers they start, so that none writes to the user's."""

import os

import pytest
import torch

torch.set_num_threads(1)


@pytest.fixture(scope="session", autouse=True)
def _own_database(tmp_path_factory: pytest.TempPathFactory) -> None:
    os.environ["HANDFUL_DATABASE_URL"] = f"sqlite:///{tmp_path_factory.mktemp('database')}/handful.db"

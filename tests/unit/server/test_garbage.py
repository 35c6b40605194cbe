"""What a server's collections look at."""

import gc
import weakref
from collections.abc import Iterator

import pytest

from handful.server.garbage import collect_all, keep_out


class Circle:
    """What only a collection frees."""

    def __init__(self) -> None:
        self.itself = self


@pytest.fixture(autouse=True)
def _as_before() -> Iterator[None]:
    threshold = gc.get_threshold()
    yield
    gc.set_threshold(*threshold)
    gc.unfreeze()


def test_what_is_kept_out_is_not_looked_at_again() -> None:
    kept = Circle()
    left = weakref.ref(kept)
    keep_out()
    del kept
    gc.collect()
    assert left() is not None
    collect_all()
    assert left() is None


def test_garbage_is_not_kept() -> None:
    left = weakref.ref(Circle())
    keep_out()
    assert left() is None


def test_what_is_let_go_of_after_a_model_has_left_is_found_as_well() -> None:
    kept = Circle()
    left = weakref.ref(kept)
    keep_out()
    collect_all()
    del kept
    gc.collect()
    assert left() is None

"""The native kernels as a lesser processor would run them."""

from collections.abc import Iterator
from contextlib import contextmanager

import pytest

from handful.model.ops.native.loading import AVX2, AVX512, AVX_VNNI, library, limit_instructions
from handful.types import Instructions

NEEDED: dict[Instructions, int] = {"avx512": AVX512, "avx-vnni": AVX_VNNI, "avx2": AVX2}


@contextmanager
def limited(to: Instructions) -> Iterator[None]:
    """No kernel uses more than this."""
    before = limit_instructions(to)
    try:
        yield
    finally:
        limit_instructions(before)


def needs(instructions: Instructions) -> pytest.MarkDecorator:
    """Skips where the processor, or the build, lacks them."""
    found = library()
    missing = found is None or not found.has(NEEDED[instructions])
    return pytest.mark.skipif(missing, reason=f"the native library isn't built here, or no {instructions}")

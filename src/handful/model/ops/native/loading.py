"""Finding and loading the native library, and what this processor lets it do.

The library has a C interface and is called with plain pointers (`tensor.data_ptr()`); ctypes releases the interpreter
lock during a call. It uses the OpenMP runtime that torch has already loaded, so that there is one pool of threads.
"""

import ctypes
import logging
import platform
from dataclasses import dataclass
from functools import cache
from pathlib import Path

from handful.model.ops.native.openmp import openmp

log = logging.getLogger(__name__)

INTERFACE = 5  # what features.cpp says
AVX512, AVX512_BF16, AVX512_VNNI, AMX = 1, 2, 4, 8


@dataclass(frozen=True, slots=True, eq=False)
class Library:
    """The loaded library and the instruction sets (bits) it may use here."""

    functions: ctypes.CDLL
    features: int

    def has(self, features: int) -> bool:
        """Whether all of these instruction sets are there."""
        return self.features & features == features


@cache
def library() -> Library | None:
    """The native library, or None where it wasn't built or can't be loaded: everything then runs on torch's own."""
    if platform.machine() not in ("x86_64", "AMD64"):
        return None
    built = next(iter(sorted(Path(__file__).parent.glob("_kernels*.so"))), None)
    if built is None:
        log.info("the native kernels were not built (no C++ compiler at installation?); running on torch's own")
        return None
    try:
        if openmp() is None:
            raise OSError("torch brings no OpenMP runtime")
        functions = ctypes.CDLL(str(built))
        if functions.handful_interface() != INTERFACE:
            raise OSError("they are of another version of handful; install it again")
        return Library(functions, int(functions.handful_features()))
    except (OSError, AttributeError) as error:
        log.warning("the native kernels can't be loaded (%s); running on torch's own", error)
        return None

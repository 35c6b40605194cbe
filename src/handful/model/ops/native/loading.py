"""Finding and loading the native library, and what this processor lets it do.

The library has a C interface and is called with plain pointers (`tensor.data_ptr()`); ctypes releases the interpreter
lock during a call.
"""

import ctypes
import logging
import platform
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

from handful.model.ops.native.openmp import openmp
from handful.types import Instructions

log = logging.getLogger(__name__)

INTERFACE = 13  # what features.cpp says
AVX512, AVX512_BF16, AVX512_VNNI, AMX, AVX2, AVX_VNNI = 1, 2, 4, 8, 16, 32

_LEFT: dict[Instructions, int] = {"all": ~0, "avx512": ~AMX, "avx-vnni": AVX2 | AVX_VNNI, "avx2": AVX2, "none": 0}


@dataclass(frozen=True, slots=True, eq=False)
class Library:
    """The loaded library and the instruction sets (bits) it may use here."""

    functions: ctypes.CDLL
    features: int

    def has(self, features: int) -> bool:
        """Whether all of these instruction sets are there."""
        return self.features & features == features


@dataclass(slots=True)
class _Limit:
    instructions: Instructions = "all"


_limit = _Limit()


def limit_instructions(to: Instructions) -> Instructions:
    """From now on the kernels of this process use no more than this; what is packed already stays as it is.

    all; avx512 (no AMX); avx-vnni; avx2; none, which leaves everything to torch. Returns what the limit was.
    """
    before, _limit.instructions = _limit.instructions, to
    return before


def stops_below_avx512() -> bool:
    """Whether handful is to behave as on a processor without AVX-512."""
    return _limit.instructions in ("avx-vnni", "avx2")


def library() -> Library | None:
    """The native library, or None where it wasn't built or can't be loaded: everything then runs on torch's own."""
    found = _loaded()
    return None if found is None else Library(found.functions, found.features & _LEFT[_limit.instructions])


def needed_library() -> Library:
    """The native library, for what is only called where it is there."""
    found = library()
    if found is None:
        raise RuntimeError("the native kernels aren't there: ask can_multiply() first")
    return found


def address_of(function: Any) -> int:
    """Where a function of the library lies, for another that calls it."""
    found = ctypes.cast(function, ctypes.c_void_p).value
    if found is None:
        raise ValueError("there is no such function")
    return found


@cache
def _loaded() -> Library | None:
    if platform.machine() not in ("x86_64", "AMD64"):
        return None
    built = next(iter(sorted(Path(__file__).parent.glob("_kernels*.so"))), None)
    if built is None:
        log.info("the native kernels were not built (no C++ compiler at installation?); running on torch's own")
        return None
    try:
        functions = ctypes.CDLL(str(built))
        if functions.handful_interface() != INTERFACE:
            raise OSError("they are of another version of handful; install it again")
        parallel = getattr(openmp(), "GOMP_parallel", None)
        if parallel is not None:  # so that there is one pool of threads where torch computes, too (threads.py)
            functions.handful_use_openmp(ctypes.cast(parallel, ctypes.c_void_p))
        return Library(functions, int(functions.handful_features()))
    except (OSError, AttributeError) as error:
        log.warning("the native kernels can't be loaded (%s); running on torch's own", error)
        return None

"""Memory that a load leaves free in the middle of what it leaves behind."""

import ctypes
import sys


def give_back_memory() -> None:
    """Give the system what has been freed. glibc keeps pieces smaller than 32 MB for whoever asks next, which after a
    load nobody does: weights that were packed anew come to gigabytes. Does nothing with another C library.
    """
    if sys.platform == "linux":
        trim = getattr(ctypes.CDLL(None), "malloc_trim", None)
        if trim is not None:
            trim(ctypes.c_size_t(0))

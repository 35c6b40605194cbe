"""When a server looks for garbage: seldom, and not again at what stays.

A full collection looks at every object there is and holds the interpreter's lock meanwhile, so that neither the event
loop nor an engine moves: some 0.17 s with torch, all routes and a model loaded, twice in a thousand requests. What is
in memory when a model has loaded is therefore left out, and only what requests leave behind is looked at.
"""

import gc

_YOUNG = 10_000
"""Objects that come before they are looked at. Python's own 700 are made by a few requests, not one yet answered."""


def keep_out() -> None:
    """Collect now, and leave what is in memory out of every later collection, until `collect_all`."""
    gc.collect()
    gc.freeze()
    gc.set_threshold(_YOUNG, *gc.get_threshold()[1:])


def collect_all() -> None:
    """Collect among everything, to free a model: a circle of references.

    Whoever still holds a part of it lets go a moment later, so nothing is kept out from here on, until the next model
    has loaded.
    """
    gc.unfreeze()
    gc.collect()

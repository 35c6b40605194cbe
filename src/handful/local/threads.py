"""How many threads torch and the native kernels compute on."""

import torch

from handful.config import Settings
from handful.control_groups import usable_cores


def set_threads(used: Settings) -> None:
    """As many as the settings ask for; where they ask for none, torch's number, but no more than a container may use.

    torch counts the cores that this process may run on, and takes OMP_NUM_THREADS; a container's share of the
    processors it doesn't know. With 64 threads and a share of 2 nearly all of each step is spent waiting.
    """
    most = usable_cores()
    if used.threads:
        torch.set_num_threads(used.threads)
    elif most is not None and torch.get_num_threads() > most:
        torch.set_num_threads(most)

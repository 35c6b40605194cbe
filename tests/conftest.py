"""For all tests: one thread for tensors, so that tests that run side by side don't fight over two cores."""

import torch

torch.set_num_threads(1)

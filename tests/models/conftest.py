"""Use one thread, because the inputs are tiny and synchronising threads would take most of the time."""

import torch

torch.set_num_threads(1)

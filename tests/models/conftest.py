"""One thread: inputs are tiny, and threads that wait for each other are most of such a test's time."""

import torch

torch.set_num_threads(1)

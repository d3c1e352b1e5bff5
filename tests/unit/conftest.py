"""One thread for torch: parallel test workers on few cores otherwise wait for one another."""

from __future__ import annotations

import torch

torch.set_num_threads(1)

"""Prints the bytes that a case of torch_cases.py takes at most, above those of PyTorch with nothing to do.

    python torch_memory.py '{"bench": "resnet18", "threads": 1, ...}'
"""

import json
import sys

import torch

from torch_cases import CASES

STEPS = 3


def resident(field):
    """VmRSS now, VmHWM at most, in bytes."""
    with open("/proc/self/status") as status:
        line = next(line for line in status if line.startswith(field))
    return int(line.split()[1]) * 1024


options = json.loads(sys.argv[1])
torch.set_num_threads(options.pop("threads"))
# Also what the first operations load.
(torch.ones(100, requires_grad=True) + 1).sum().backward()
idle = resident("VmRSS")
case = CASES[options.pop("bench")](**options)
for _ in range(STEPS):
    case.run()
case.finish()
print(resident("VmHWM") - idle)

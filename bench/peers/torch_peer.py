"""PyTorch's side of the benchmarks: one process that waits for lines on its standard input.

    setup {"bench": ..., "threads": ..., ...}   makes ready one case   -> ok
    batch N                                     runs it N times        -> seconds, by this process' clock
    sample                                      of the last result     -> a list of numbers, or null

Between batches it waits for the next line and uses no processor time. Errors are answered as `error TEXT`, and
`missing TEXT` says why a case cannot run here.
"""

import gc
import json
import sys
import time

import torch

from torch_cases import CASES, Unavailable


def answer(case, line):
    command, _, argument = line.strip().partition(" ")
    if command == "setup":
        options = json.loads(argument)
        torch.set_num_threads(options.pop("threads"))
        return CASES[options.pop("bench")](**options), "ok"
    if command == "batch":
        run, count = case.run, int(argument)
        gc.collect()
        # As timeit does: no pause of the collector of cycles falls into the measurement.
        gc.disable()
        start = time.perf_counter()
        for _ in range(count):
            run()
        case.finish()
        seconds = time.perf_counter() - start
        gc.enable()
        return case, repr(seconds)
    if command == "sample":
        return case, json.dumps(case.sample())
    raise ValueError(f"unknown command {command}")


def main():
    case = None
    for line in sys.stdin:
        if line.startswith("setup"):
            # The old case goes before the new one comes: both may be large.
            case = None
        try:
            case, text = answer(case, line)
        except Unavailable as reason:
            text = f"missing {reason}"
        except Exception as error:  # told to the other side, which decides
            text = f"error {type(error).__name__}: {error}".replace("\n", " ")
        print(text, flush=True)


if __name__ == "__main__":
    main()

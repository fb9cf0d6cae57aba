"""Runs every case, or one faulty sample, in a process that AddressSanitizer was preloaded into."""

import sys

import numpy as np
from simt import build, cases, kernels

if sys.argv[1] == "fault":
    tile, out = np.zeros((32, 32), np.float32), np.zeros((32, 32), np.float32)
    build.emulator(build.SAMPLES, "asan").functions.transpose(tile.ctypes, out.ctypes, 2)
else:
    machine = kernels.Kernels("asan")
    for operator, arguments in cases.all_cases():
        getattr(machine, operator)(*arguments)
    print("clean")

import platform
import subprocess
import sys

import pytest

FAULTS = """
import os, resource, sys
import ase.build
from idle_md.deploy import load
from idle_md.memory import keep_freed_memory
def faults(model, n):
    start = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
    for _ in range(n):
        model.evaluate(atoms.numbers, atoms.positions, atoms.cell.array, True)
    return (resource.getrusage(resource.RUSAGE_SELF).ru_minflt - start) / n
atoms = ase.build.bulk("C", cubic=True).repeat(2)
for mode in sys.argv[2:]:
    if not os.fork():  # each with a memory of its own
        if mode == "keep":
            keep_freed_memory()
        model = load(sys.argv[1], kernels="portable")  # native ones keep memory themselves
        faults(model, 15)
        print(mode, faults(model, 5), flush=True)
        os._exit(0)
    os.wait()
"""


@pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="only glibc has this setting")
def test_memory_is_fetched_from_the_system_once(model_file) -> None:
    # Now and then the C library keeps the memory of its own accord, so that takes several tries.
    modes = ("keep", "return", "return", "return")
    command = [sys.executable, "-W", "ignore", "-c", FAULTS, str(model_file(features=32)), *modes]
    result = subprocess.run(command, capture_output=True, text=True, check=True)
    kept, *returned = (float(line.split()[1]) for line in result.stdout.splitlines())
    assert kept < 0.1 * max(returned)

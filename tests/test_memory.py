import platform
import subprocess
import sys

import pytest

FAULTS = """
import resource, sys
import ase.build
from idle_md.deploy import load
from idle_md.memory import keep_freed_memory
if sys.argv[2] == "keep":
    keep_freed_memory()
atoms = ase.build.bulk("C", cubic=True).repeat(2)
model = load(sys.argv[1], kernels="portable")  # native ones keep memory themselves
def faults(n):
    start = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
    for _ in range(n):
        model.evaluate(atoms.numbers, atoms.positions, atoms.cell.array, True)
    return (resource.getrusage(resource.RUSAGE_SELF).ru_minflt - start) / n
faults(15)
print(faults(5))
"""


@pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="only glibc has this setting")
def test_memory_is_fetched_from_the_system_once(model_file) -> None:
    path = str(model_file(features=32))

    def faults(mode: str) -> float:
        command = [sys.executable, "-W", "ignore", "-c", FAULTS, path, mode]
        result = subprocess.run(command, capture_output=True, text=True, check=True)
        return float(result.stdout)

    # Now and then the C library keeps the memory of its own accord, so that takes several tries.
    assert faults("keep") < 0.1 * max(faults("return") for _ in range(3))

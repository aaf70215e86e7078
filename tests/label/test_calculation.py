"""What a worker needs to label."""

import subprocess
import sys


def test_workers_need_neither_torch_nor_h5py() -> None:
    code = "import sys, idle_md.label.calculation; print({'torch', 'h5py'} & {*sys.modules})"
    printed = subprocess.run(
        [sys.executable, "-c", code], check=True, capture_output=True, text=True
    )
    assert printed.stdout.strip() == "set()"

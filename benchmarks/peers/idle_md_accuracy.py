"""Train one of idle_md's configurations on one thread for some minutes of processor time.

Started by ``benchmarks/peers_accuracy.py``. Does what ``idle-md train`` does, but that the budget's
minutes are of the processor and not of the clock on the wall, so that other work on the machine
does not matter. Compiling counts: it happens in this process, and nothing of it is kept.
"""

import argparse
import sys
from pathlib import Path
from types import SimpleNamespace

from peers.clock import cpu_seconds

import idle_md.train.fit.module
from idle_md.train import load_config, train


def main() -> None:
    """Train and evaluate."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("config", type=Path)
    arguments = parser.parse_args()
    idle_md.train.fit.module.time = SimpleNamespace(monotonic=cpu_seconds)  # type: ignore[assignment]
    config = load_config(arguments.config)
    train(config, resume=(config.out / "config.yaml").is_file())


if __name__ == "__main__":
    sys.exit(main())

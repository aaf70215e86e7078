"""Export a PaiNN with random weights, 128 features and 3 interactions by default.

python benchmarks/gpu/model.py model.pt
"""

from pathlib import Path
from typing import Annotated

import typer
from speed import potential

from idle_md.deploy import describe, extract, save


def main(
    path: Annotated[Path, typer.Argument()],
    features: int = 128,
    interactions: int = 3,
    n_radial: int = 20,
    cutoff: float = 5.0,
) -> None:
    """Write the file."""
    made = potential(features, interactions, n_radial, cutoff)
    save(extract(made, "high"), path, describe(made, "high"))


if __name__ == "__main__":
    typer.run(main)

"""Time an IDLe-trained model against a single-fidelity one.

Times an exported IDLe-trained model against an exported single-fidelity model, interleaved, on
several sizes, and prints the ratio with its spread beside the spread of a model against itself.

    python benchmarks/inference_parity.py                            # random weights
    python benchmarks/inference_parity.py runs/quickstart/idle.pt runs/quickstart/single.pt
"""

import argparse
import json
import os
import platform
import tempfile
from pathlib import Path

import ase.build
import torch
from rich.console import Console
from rich.table import Table

from idle_md.deploy import describe, extract, load, save
from idle_md.deploy.model import DeployedModel
from idle_md.deploy.timing import Comparison, Ratio, compare_inference
from idle_md.nn import PaiNN, Potential

ELEMENTS = [1, 6, 7, 8]
MOLECULES = ("CH3CH2OH", "C6H6", "C60")


def exported(fidelities: list[str], features: int, folder: Path) -> DeployedModel:
    """Export the last fidelity of a potential with random weights."""
    torch.manual_seed(0)
    correction = {fidelities[1]: fidelities[0]} if len(fidelities) > 1 else None
    potential = Potential(PaiNN(ELEMENTS, features, cutoff=4.0), fidelities, 32, correction)
    path = folder / f"{len(fidelities)}.pt"
    save(extract(potential, fidelities[-1]), path, describe(potential, fidelities[-1]))
    return load(path)


def print_table(result: Comparison) -> None:
    """Print a row per size, and what both models are made of."""
    table = Table(title="Time of an energy and forces: IDLe-trained (a) / single-fidelity (b)")
    for heading in ("atoms", "edges", "a, ms", "b, ms", "a/b", "a/a", "b/b"):
        table.add_column(heading, justify="right")
    for size in result["sizes"]:
        ratios = (size["ratio"], size["a_to_itself"], size["b_to_itself"])
        times = (f"{size['ms_a']:.3f}", f"{size['ms_b']:.3f}")
        table.add_row(str(size["n_atoms"]), str(size["n_edges"]), *times, *map(shown, ratios))
    over_all = (result["ratio"], result["a_to_itself"], result["b_to_itself"])
    table.add_row("all", "", "", "", *map(shown, over_all))
    console = Console()
    console.print(table)
    same = result["operators_a"] == result["operators_b"]
    count = sum(result["operators_a"].values())
    console.print(f"operators: {count} and {sum(result['operators_b'].values())}, equal: {same}")
    console.print(f"head widths: {result['head_widths_a']} and {result['head_widths_b']}")


def shown(ratio: Ratio) -> str:
    """Return the median and the 5% and 95% quantiles."""
    return f"{ratio['median']:.3f} ({ratio['low']:.3f} to {ratio['high']:.3f})"


def main() -> None:
    """Parse arguments, time, print, write."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("models", nargs="*", type=Path, help="IDLe-trained and single model.pt")
    parser.add_argument("--features", type=int, default=64, help="width of random models")
    parser.add_argument("--repeats", type=int, default=200)
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--json", type=Path, help="write the result here too")
    arguments = parser.parse_args()
    if len(arguments.models) not in (0, 2):
        parser.error("give two models, or none")
    torch.set_num_threads(arguments.threads)
    if arguments.models:
        idle, single = (load(path) for path in arguments.models)
    else:
        with tempfile.TemporaryDirectory() as folder:
            idle, single = (
                exported(names, arguments.features, Path(folder))
                for names in (["low", "high"], ["high"])
            )
    structures = [ase.build.molecule(name) for name in MOLECULES]
    result = compare_inference(idle, single, structures, arguments.repeats)
    print_table(result)
    machine = {"machine": platform.machine(), "cpus": os.cpu_count(), "threads": arguments.threads}
    versions = {"python": platform.python_version(), "torch": torch.__version__}
    if arguments.json:
        arguments.json.write_text(json.dumps({**machine, "versions": versions, **result}, indent=2))
    if result["operators_a"] != result["operators_b"]:
        raise SystemExit("the two models do not run the same operators")


if __name__ == "__main__":
    main()

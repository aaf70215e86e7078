"""Inference time of an IDLe-trained export against a single-fidelity one.

    python benchmarks/inference_parity.py [idle.pt single.pt] [--json parity.json]

Without model files, two potentials of the same width with random weights are exported: one with a
correction head on a second fidelity, one with a single head. What they predict does not matter for
the time. Both models are evaluated in turn, on one thread and with memory kept as MD keeps it; see
:func:`idle_md.deploy.timing.compare_inference` for how noise is kept out. The ratio a/b is to be
compared with what each model's ratio to itself spreads.
"""

import json
import tempfile
from pathlib import Path
from typing import Annotated

import torch
import typer
from rich.console import Console
from rich.table import Table

from idle_md.deploy import DeployedModel, describe, extract, load, save
from idle_md.deploy.timing import Comparison, Ratio, compare_inference
from idle_md.engines.openmm.benchmark import ethanol
from idle_md.files import replacing
from idle_md.memory import keep_freed_memory
from idle_md.nn import PaiNN, Potential

ELEMENTS = [1, 6, 7, 8]


def main(
    models: Annotated[
        list[Path] | None, typer.Argument(help="IDLe-trained and single-fidelity model.pt.")
    ] = None,
    molecules: Annotated[list[int] | None, typer.Option(help="Sizes in ethanol molecules.")] = None,
    repeats: Annotated[int, typer.Option(min=20, help="Repeats per size.")] = 300,
    features: Annotated[int, typer.Option(help="Width of random models.")] = 64,
    interactions: Annotated[int, typer.Option(help="Depth of random models.")] = 2,
    output: Annotated[Path | None, typer.Option("--json", help="Write the figures here.")] = None,
) -> None:
    """Print and write how the inference times of two models compare."""
    if models and len(models) != 2:
        raise typer.BadParameter("give two models, or none")
    torch.set_num_threads(1)
    keep_freed_memory()
    a, b = map(load, models) if models else random_models(features, interactions)
    sizes = [ethanol(n) for n in molecules or (1, 3, 10, 30)]
    found = compare_inference(a, b, sizes, repeats)
    Console(width=110).print(table(found))
    if output is not None:
        with replacing(output) as file:
            file.write_text(json.dumps(found, indent=2))


def random_models(features: int, interactions: int) -> tuple[DeployedModel, DeployedModel]:
    """Export a two-fidelity and a single-fidelity potential with random weights."""
    models = []
    for fidelities, correction in ((["low", "high"], {"high": "low"}), (["high"], {})):
        torch.manual_seed(0)
        backbone = PaiNN(ELEMENTS, PaiNN.Config(features=features, interactions=interactions))
        potential = Potential(backbone, fidelities, correction_on=correction)
        with tempfile.TemporaryDirectory() as folder:
            path = Path(folder) / "model.pt"
            save(extract(potential, "high"), path, describe(potential, "high"))
            models.append(load(path))
    return models[0], models[1]


def table(found: Comparison) -> Table:
    """Return the comparison as a table."""
    rows = Table(title="Inference time, a = IDLe-trained, b = single fidelity")
    for heading in ("atoms", "edges", "a, ms", "b, ms", "a / b", "a / a", "b / b"):
        rows.add_column(heading, justify="right")
    for size in found["sizes"]:
        times = (f"{size['ms_a']:.3f}", f"{size['ms_b']:.3f}")
        ratios = (size["ratio"], size["a_to_itself"], size["b_to_itself"])
        rows.add_row(str(size["n_atoms"]), str(size["n_edges"]), *times, *map(written, ratios))
    overall = (found["ratio"], found["a_to_itself"], found["b_to_itself"])
    rows.add_row("all", "", "", "", *map(written, overall), style="bold")
    operators = [sum(found[key].values()) for key in ("operators_a", "operators_b")]
    same = "the same" if found["operators_a"] == found["operators_b"] else "not the same"
    rows.caption = (
        f"median (5% to 95%); {operators[0]} and {operators[1]} operators, {same}; "
        f"head widths {found['head_widths_a']} and {found['head_widths_b']}"
    )
    return rows


def written(ratio: Ratio) -> str:
    """Return a ratio with its spread."""
    return f"{ratio['median']:.3f} ({ratio['low']:.2f} to {ratio['high']:.2f})"


if __name__ == "__main__":
    typer.run(main)

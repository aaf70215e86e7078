"""Active learning by variance.

How good is the closed form of `adapt` with 24 to 108 labels, drawn by chance or chosen so that they
leave the least variance? The errors are those of forces on 180 test geometries of the shipped data
set, at ωB97X/6-31G*, three draws each, as `benchmarks/closed_form.py` measured them
(`benchmarks/results/selection.json`, an hour); this script only draws them.
"""

import json
import sys
from pathlib import Path

import numpy as np
from matplotlib.figure import Figure

OUT = Path(sys.argv[1] if len(sys.argv) > 1 else ".")
RESULTS = Path(__file__).parents[2] / "benchmarks/results/selection.json"
ERROR = "force_mae_mev_per_angstrom"
NAMES = {"random": ("o--", "drawn by chance"), "variance": ("o-", "least variance")}

rows = json.loads(RESULTS.read_text())["rows"]
figure = Figure(figsize=(5, 3.4), layout="constrained")
axes = figure.subplots()
numbers = {}
for choice, (style, label) in NAMES.items():
    counts = sorted({row["labels"] for row in rows if row["choice"] == choice})
    draws = [
        [r["test, live"][ERROR] for r in rows if (r["choice"], r["labels"]) == (choice, count)]
        for count in counts
    ]
    means = [np.mean(each) for each in draws]
    axes.errorbar(counts, means, [np.std(each) for each in draws], fmt=style, label=label)
    numbers[f"{label}, {counts[0]} labels, meV/Å"] = float(means[0])
    numbers[f"{label}, {counts[-1]} labels, meV/Å"] = float(means[-1])
axes.set(xlabel="labels, energies and forces", ylabel="force MAE, meV/Å")
axes.legend(frameon=False)
figure.savefig(OUT / "labels_chosen.svg", metadata={"Date": None})
(OUT / "labels_chosen.json").write_text(json.dumps(numbers, indent=1) + "\n")

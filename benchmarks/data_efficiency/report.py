"""Curves and tables of what ``run.py`` has finished: errors by number of expensive labels.

    python benchmarks/data_efficiency/report.py runs/benchmarks/data_efficiency

Writes ``results/data_efficiency.json``, a figure per experiment under ``docs/pictures`` and the
tables of ``docs/evidence.md``, between its marks. A reduction factor is the number of labels that
``single`` needs for the error that it reaches with most of them, over the number that a method
needs for that error, by interpolation of logarithms. Low and high ends compare the worst draw of
the one with the best of the other.
"""

import argparse
import json
import math
import platform
import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import matplotlib.pyplot as plt
import numpy as np
import torch
from experiments import EXPERIMENTS, JUDGED, STEPS, TRIVIAL

from idle_md.files import replacing

ROOT = Path(__file__).resolve().parents[2]
RESULTS = ROOT / "benchmarks" / "results" / "data_efficiency.json"
PAGE, PICTURES = ROOT / "docs" / "evidence.md", ROOT / "docs" / "pictures"
METRICS = {
    "energy_mae_mev": "energy, meV",
    "relative_energy_mae_mev": "relative energy, meV",
    "force_mae_mev_per_angstrom": "forces, meV/Å",
}
ROLES = {"test": "held-out geometries", "ood": "larger molecules"}
Row = dict[str, Any]
Curve = dict[str, list[float]]


def curves(rows: Sequence[Row], role: str) -> dict[str, Any]:
    """Return budgets and errors (mean, low, high of the draws) of one method."""
    some = [row for row in rows if role in row]
    budgets = sorted({row["budget"] for row in some})
    found: dict[str, Any] = {"budgets": budgets}
    found["draws"] = [sum(row["budget"] == budget for row in some) for budget in budgets]
    for metric in METRICS:
        values = [
            [row[role][metric] for row in some if row["budget"] == budget] for budget in budgets
        ]
        if values and None not in values[0]:
            found[metric] = {
                "mean": [float(np.mean(each)) for each in values],
                "low": [min(each) for each in values],
                "high": [max(each) for each in values],
            }
    return found


def labels_needed(budgets: Sequence[int], errors: Sequence[float], wanted: float) -> float:
    """Return how many labels reach an error: infinite where they never do.

    Not below the smallest number that was tried, nor beyond the largest.
    """
    if errors[0] <= wanted:
        return float(budgets[0])
    for last, this in zip(range(len(errors)), range(1, len(errors)), strict=False):
        if errors[this] <= wanted:
            share = math.log(errors[last] / wanted) / math.log(errors[last] / errors[this])
            return float(budgets[last] * (budgets[this] / budgets[last]) ** share)
    return math.inf


def reduction(method: Mapping[str, Any], single: Mapping[str, Any], metric: str) -> Row | None:
    """Return by what factor a method needs fewer labels than the single-fidelity model."""
    if metric not in method or metric not in single:
        return None
    most = single["budgets"][-1]
    ends = {"value": ("mean", "mean"), "low": ("high", "low"), "high": ("low", "high")}
    found: Row = {
        name: most / labels_needed(method["budgets"], method[metric][ours], single[metric][its][-1])
        for name, (ours, its) in ends.items()
    }
    smallest = most / method["budgets"][0]
    return {**found, "extrapolated": False, "at_least": found["value"] >= smallest}


def experiment(rows: Sequence[Row]) -> dict[str, Any]:
    """Return the curves and factors of an experiment."""
    found: dict[str, Any] = {}
    methods = [name for name in (TRIVIAL, *STEPS) if any(row["method"] == name for row in rows)]
    for name in methods:
        some = [row for row in rows if row["method"] == name]
        found[name] = {**curves(some, "test"), "ood": curves(some, "ood")}
        found[name]["minutes"] = [minutes(some, each) for each in found[name]["budgets"]]
    for name in set(methods) - {TRIVIAL, "single"} if "single" in methods else ():
        factors = {
            metric: factor
            for metric in METRICS
            if (factor := reduction(found[name], found["single"], metric))
        }
        smallest = min(factors.values(), key=lambda factor: factor["value"], default=None)
        found[name]["reduction_factor"] = {**factors, "smallest": smallest}
    return found


def minutes(rows: Sequence[Row], budget: int) -> float | None:
    """Return the mean minutes of trainings; None where they are not known."""
    known = [row.get("minutes") for row in rows if row["budget"] == budget]
    found = [each for each in known if each is not None]  # not paused
    return float(np.mean(found)) if found else None


def draw(letter: str, methods: Mapping[str, Any]) -> Path:
    """Draw errors against numbers of labels."""
    shown = [metric for metric in METRICS if any(metric in each for each in methods.values())]
    figure, axes = plt.subplots(
        2, len(shown), figsize=(4.2 * len(shown), 7), sharex=True, squeeze=False
    )
    for row, (role, title) in zip(axes, ROLES.items(), strict=True):
        for axis, metric in zip(row, shown, strict=True):
            for name, found in methods.items():
                curve = found if role == "test" else found["ood"]
                if metric not in curve:
                    continue
                errors, style = curve[metric], "k--" if name == TRIVIAL else "o-"
                (line,) = axis.loglog(curve["budgets"], errors["mean"], style, ms=3, label=name)
                axis.fill_between(
                    curve["budgets"],
                    errors["low"],
                    errors["high"],
                    color=line.get_color(),
                    alpha=0.2,
                )
            axis.set(title=title, ylabel=METRICS[metric])
    for axis in axes[-1]:
        axis.set_xlabel("expensive labels")
    axes[0][0].legend(fontsize="small")
    file = PICTURES / f"data-efficiency-{letter.replace(chr(39), '-forces')}.png"
    figure.tight_layout()
    figure.savefig(file, dpi=90)
    plt.close(figure)
    return file


def table(methods: Mapping[str, Any]) -> str:
    """Return errors on held-out and on larger molecules as a Markdown table."""
    headings = (
        "labels",
        "method",
        "draws",
        "held out: E / relative / F",
        "larger: E / relative / F",
    )
    lines = [f"| {' | '.join((*headings, 'minutes'))} |", "| --- | --- | --- | --- | --- | --- |"]
    budgets = sorted({budget for each in methods.values() for budget in each["budgets"]})
    for budget in budgets:
        for name, found in methods.items():
            if budget in found["budgets"]:
                cells = [_errors(found, budget), _errors(found["ood"], budget)]
                at = found["budgets"].index(budget)
                took = found["minutes"][at]
                cells += [f"{took:.1f}" if took else ""]
                lines.append(
                    f"| {budget} | `{name}` | {found['draws'][at]} | {' | '.join(cells)} |"
                )
    return "\n".join(lines)


def _errors(curve: Mapping[str, Any], budget: int) -> str:
    if budget not in curve["budgets"]:
        return ""
    at = curve["budgets"].index(budget)
    return " / ".join(f"{curve[m]['mean'][at]:.1f}" if m in curve else "-" for m in METRICS)


def factors(methods: Mapping[str, Any]) -> str:
    """Return the reduction factors as a Markdown table, and which methods have not been run."""
    missing = ", ".join(f"`{name}`" for name in STEPS if name not in methods)
    if "single" not in methods:
        return f"Not run yet: {missing}; so there are no reduction factors."
    lines = ["| method | E | relative E | F |", "| --- | --- | --- | --- |"]
    for name, found in methods.items():
        known = found.get("reduction_factor", {})
        if known:
            cells = [_factor(known[metric]) if metric in known else "-" for metric in METRICS]
            lines.append(f"| `{name}` | {' | '.join(cells)} |")
    return "\n".join(lines) + (f"\n\nNot run yet: {missing}." if missing else "")


def _factor(factor: Row) -> str:
    if not factor["value"]:
        return "not reached"
    bound = "at least " if factor["at_least"] else ""
    return f"{bound}{factor['value']:.0f} ({factor['low']:.0f} to {factor['high']:.0f})"


def put(page: str, mark: str, text: str) -> str:
    """Return a page with the text between two marks replaced."""
    pattern = rf"(<!-- {re.escape(mark)} -->\n).*?(<!-- end -->)"
    return re.sub(pattern, lambda found: f"{found[1]}{text}\n{found[2]}", page, flags=re.DOTALL)


def main() -> None:
    """Read rows, write all that is made of them."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("out", type=Path, help="folder that run.py wrote to")
    arguments = parser.parse_args()
    rows = [
        json.loads(file.read_text()) for file in sorted((arguments.out / "rows").glob("*.json"))
    ]
    content: dict[str, Any] = {"machine": platform.machine(), "torch": torch.__version__}
    content |= {"judged": JUDGED, "experiments": {}, "rows": rows}
    page = PAGE.read_text()
    for letter, about in EXPERIMENTS.items():
        some = [row for row in rows if row["experiment"] == letter]
        if not some:
            continue
        methods = experiment(some)
        content["experiments"][letter] = {"title": about.title, "methods": methods}
        draw(letter, methods)
        page = put(page, f"table {letter}", table(methods))
        page = put(page, f"factors {letter}", factors(methods))
    with replacing(RESULTS) as temporary:
        temporary.write_text(json.dumps(content, indent=1))
    with replacing(PAGE) as temporary:
        temporary.write_text(page)


if __name__ == "__main__":
    main()

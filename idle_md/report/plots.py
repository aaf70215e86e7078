"""The plots of a page, each as the text of an SVG that is small enough for a phone."""

import io
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import matplotlib
import numpy as np
import numpy.typing as npt
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from idle_md.train.errors import Parity
from idle_md.train.fit.callbacks import Row
from idle_md.units import GPA

COLOURS = ("#0b6e4f", "#c2571a", "#3b5b92", "#8a5a83", "#6b7280")
ENERGY, FORCE, STRESS = "energy_mae_mev", "force_mae_mev_per_angstrom", "stress_mae_gpa"
QUANTITIES = {
    ENERGY: "energy MAE, meV",
    FORCE: "force MAE, meV/Å",
    STRESS: "stress MAE, GPa",
}
FEW = 100  # points that are drawn larger
WITHIN_ONE_STD = 0.6827  # of a normal distribution
NO_METADATA = dict.fromkeys(("Creator", "Date", "Format", "Type"))


@dataclass(frozen=True)
class Curve:
    """Validation errors of one fidelity in one training; curves of one name share a colour."""

    name: str
    fidelity: str
    rows: Sequence[Row]


def new_axes(width: float = 4.6, height: float = 3.4) -> tuple[Figure, Axes]:
    """Return an empty figure of a size in inches, and its axes."""
    figure = Figure(figsize=(width, height), layout="constrained")
    return figure, figure.subplots()


def svg(figure: Figure) -> str:
    """Return a figure as inline SVG."""
    buffer = io.StringIO()
    with matplotlib.rc_context({"svg.fonttype": "none"}):  # text stays text
        figure.savefig(buffer, format="svg", dpi=150, metadata=NO_METADATA)
    text = buffer.getvalue()
    return text[text.index("<svg") :]


def learning_curves(
    curves: Sequence[Curve], quantity: str, colours: Mapping[str, str] | None = None
) -> str:
    """Return validation errors against training time; a dot is at the best checkpoint.

    Parameters
    ----------
    curves
        What to draw; those without a number are left out.
    quantity
        ``energy_mae_mev``, ``force_mae_mev_per_angstrom`` or ``stress_mae_gpa``.
    colours
        By the name of a curve, if not one after the other.

    Returns
    -------
    str
        The SVG; empty if there is nothing to draw.
    """
    drawn = [(curve, _errors(curve, quantity)) for curve in curves]
    drawn = [(curve, errors) for curve, errors in drawn if np.isfinite(errors).any()]
    if not drawn:
        return ""
    names = list(dict.fromkeys(curve.name for curve, _ in drawn))
    chosen = colours or {name: COLOURS[k % len(COLOURS)] for k, name in enumerate(names)}
    figure, axes = new_axes()
    lines = {}
    for curve, errors in drawn:
        minutes = [row["seconds"] / 60 for row in curve.rows]
        [lines[curve.name]] = axes.plot(minutes, errors, lw=1.2, color=chosen[curve.name])
        best = int(np.argmin([row["score"] for row in curve.rows]))
        axes.plot(minutes[best], errors[best], "o", ms=4, color=chosen[curve.name])
    axes.set(xlabel="training time, min", ylabel=f"validation {QUANTITIES[quantity]}", yscale="log")
    axes.legend(list(lines.values()), list(lines), frameon=False, fontsize=8)
    return svg(figure)


def _errors(curve: Curve, quantity: str) -> npt.NDArray[np.float64]:
    """Return the errors (n_rows,) of a curve; NaN where there are none."""
    return np.array([row.get(f"{curve.fidelity}_{quantity}", np.nan) for row in curve.rows])


def parity_plots(parity: Parity, colour: str = COLOURS[0]) -> list[str]:
    """Return predictions against labels: relative energies, forces and stress that there are."""
    energies = 1e3 * parity["energy_label"], 1e3 * parity["energy"], "relative energy", "meV"
    forces = parity["force_label"], parity["force"], "force", "eV/Å"
    stress = parity["stress_label"] / GPA, parity["stress"] / GPA, "stress", "GPa"
    return [_parity_plot(*each, colour) for each in (energies, forces, stress) if len(each[0])]


def _parity_plot(label: Any, prediction: Any, quantity: str, unit: str, colour: str) -> str:
    figure, axes = new_axes(3.6, 3.4)
    axes.plot(
        label,
        prediction,
        ".",
        ms=2.5 if len(label) > FEW else 6,
        alpha=0.5,
        color=colour,
        rasterized=True,
    )
    low, high = float(np.min(label)), float(np.max(label))
    margin = 0.1 * (high - low) or 1.0
    axes.plot([low, high], [low, high], "-", lw=0.8, color="black")
    axes.set(xlim=(low - margin, high + margin), ylim=(low - margin, high + margin))
    axes.set(xlabel=f"{quantity} label, {unit}", ylabel=f"prediction, {unit}")
    return svg(figure)


def coverage_plot(shares: Mapping[str, float]) -> str:
    """Return which share of errors is within one predicted standard deviation, by name."""
    figure, axes = new_axes(4.6, 0.9 + 0.4 * len(shares))
    axes.barh(list(shares), list(shares.values()), height=0.6, color=COLOURS[0])
    axes.axvline(WITHIN_ONE_STD, lw=1.0, ls="--", color="black")
    axes.set(xlim=(0, 1), xlabel="share of errors within one standard deviation")
    axes.invert_yaxis()
    return svg(figure)

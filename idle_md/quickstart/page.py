"""The report as one self-contained page."""

import io
from importlib.resources import files
from typing import Any

import jinja2
import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from idle_md.engines.results import MDResult
from idle_md.train.errors import Parity
from idle_md.train.fit.callbacks import Row

NAMES = {"idle": "IDLe", "single": "single fidelity", "low_level_baseline": "trivial baseline"}
COLOURS = {"idle": "#0b6e4f", "single": "#c2571a", "low_level_baseline": "#6b7280"}


def render(
    report: dict[str, Any],
    curves: dict[str, tuple[str, list[Row]]],
    parity: dict[str, Parity],
    nve: MDResult,
) -> str:
    """Return the page's HTML.

    Parameters
    ----------
    report
        The content of ``report.json``.
    curves
        Of each training the fidelity it is judged by, and the rows of its log.
    parity
        Labels and predictions on the test geometries, by model.
    nve
        The energy-conserving run.
    """
    template = files("idle_md.quickstart").joinpath("page.html").read_text()
    environment = jinja2.Environment(autoescape=True, undefined=jinja2.StrictUndefined)
    return environment.from_string(template).render(
        report=report,
        names=NAMES,
        learning=_learning_curves(curves),
        parity=_parity_plots(parity),
        energy=_energy_plot(nve),
    )


def _learning_curves(curves: dict[str, tuple[str, list[Row]]]) -> str:
    figure = Figure(figsize=(9, 3.2), layout="constrained")
    axes = figure.subplots()
    for name, (fidelity, rows) in curves.items():
        minutes = [row["seconds"] / 60 for row in rows]
        errors = [row[f"{fidelity}_energy_mae_mev"] for row in rows]
        axes.plot(minutes, errors, color=COLOURS[name], label=f"{NAMES[name]}: {fidelity}")
        best = int(np.argmin([row["score"] for row in rows]))
        axes.plot(minutes[best], errors[best], "o", color=COLOURS[name])
    axes.set(xlabel="training time, min", ylabel="validation energy MAE, meV", yscale="log")
    axes.legend(frameon=False)
    return _svg(figure)


def _parity_plots(parity: dict[str, Parity]) -> str:
    figure = Figure(figsize=(9, 6), layout="constrained")
    rows = figure.subplots(2, len(parity), squeeze=False)
    for column, (name, points) in enumerate(parity.items()):
        _scatter(rows[0, column], 1e3 * points["energy_label"], 1e3 * points["energy"], name)
        _scatter(rows[1, column], points["force_label"], points["force"], name)
        rows[0, column].set(title=NAMES[name], xlabel="relative energy label, meV")
        rows[1, column].set(xlabel="force label, eV/Å")
    rows[0, 0].set(ylabel="prediction, meV")
    rows[1, 0].set(ylabel="prediction, eV/Å")
    return _svg(figure)


def _scatter(axes: Axes, label: Any, prediction: Any, name: str) -> None:
    axes.plot(label, prediction, ".", ms=2.5, alpha=0.5, color=COLOURS[name], rasterized=True)
    limits = [float(np.min(label)), float(np.max(label))]
    axes.plot(limits, limits, "-", lw=0.8, color="black")
    margin = 0.1 * (limits[1] - limits[0])
    axes.set(xlim=(limits[0] - margin, limits[1] + margin))
    axes.set(ylim=(limits[0] - margin, limits[1] + margin))


def _energy_plot(nve: MDResult) -> str:
    figure = Figure(figsize=(9, 2.8), layout="constrained")
    axes = figure.subplots()
    total = 1e3 * (nve.total_ev - nve.total_ev[0])
    potential = 1e3 * (nve.potential_ev - nve.potential_ev.mean())
    axes.plot(nve.times_ps, potential, lw=0.6, color="#9ca3af", label="potential, less its mean")
    axes.plot(nve.times_ps, total, lw=1.2, color=COLOURS["idle"], label="total, less its start")
    axes.set(xlabel="time, ps", ylabel="energy, meV")
    axes.legend(frameon=False, loc="upper right")
    return _svg(figure)


def _svg(figure: Figure) -> str:
    """Return the figure as inline SVG, points as an embedded picture."""
    buffer = io.StringIO()
    figure.savefig(buffer, format="svg", dpi=150)
    text = buffer.getvalue()
    return text[text.index("<svg") :]

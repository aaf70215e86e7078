"""The tour's results as one self-contained page."""

from typing import Any

from idle_md.engines.results import MDResult
from idle_md.report.plots import (
    ENERGY,
    Curve,
    learning_curves,
    new_axes,
    parity_plots,
    svg,
)
from idle_md.report.template import render as render_template
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
    plotted = (
        (name, plot) for name, p in parity.items() for plot in parity_plots(p, COLOURS[name])
    )
    return render_template(
        "quickstart/page.html",
        report=report,
        errors=[(title, report[name]) for name, title in NAMES.items()],
        errors_of_larger=[(title, report[name]["ood"]) for name, title in NAMES.items()],
        learning=[(_learning_curves(curves), "")],
        parity=[(plot, NAMES[name]) for name, plot in plotted],
        energy=[(_energy_plot(nve), "")],
    )


def _learning_curves(curves: dict[str, tuple[str, list[Row]]]) -> str:
    labels = {name: f"{NAMES[name]}: {fidelity}" for name, (fidelity, _) in curves.items()}
    drawn = [Curve(labels[name], *found) for name, found in curves.items()]
    return learning_curves(drawn, ENERGY, {labels[name]: COLOURS[name] for name in curves})


def _energy_plot(nve: MDResult) -> str:
    figure, axes = new_axes()
    total = 1e3 * (nve.total_ev - nve.total_ev[0])
    potential = 1e3 * (nve.potential_ev - nve.potential_ev.mean())
    axes.plot(nve.times_ps, potential, lw=0.6, color="#9ca3af", label="potential, less its mean")
    axes.plot(nve.times_ps, total, lw=1.2, color=COLOURS["idle"], label="total, less its start")
    axes.set(xlabel="time, ps", ylabel="energy, meV")
    axes.legend(frameon=False, loc="upper right")
    return svg(figure)

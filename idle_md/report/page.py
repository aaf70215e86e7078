"""What stands on the page of a run."""

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from idle_md.files import replacing
from idle_md.report.breakdown import Deviations, by_element, by_group, by_temperature
from idle_md.report.comparison import Comparison, comparisons, first_sentences
from idle_md.report.drawing import draw_structure
from idle_md.report.held_out import ROLES, HeldOut, held_out
from idle_md.report.plots import (
    COLOURS,
    ENERGY,
    FORCE,
    STRESS,
    Curve,
    coverage_plot,
    learning_curves,
    parity_plots,
)
from idle_md.report.run import Run, open_run
from idle_md.report.template import render
from idle_md.train.diagnosis import Diagnosis
from idle_md.train.errors import Errors

DRAWN = 6
TITLES = {
    "test": "Held-out geometries (role test)",
    "ood": "Other molecules than those of the training (role ood)",
    "validation": "Validation geometries, by whose labels checkpoints are chosen",
}
CLOSED_FORM = {"model": "closed form on the model", "live": "closed form on a live low level"}
Drawings = list[tuple[str, str]]


def write_report(path: Path, out: Path | None = None, data: str | None = None) -> tuple[Path, str]:
    """Write the page of a finished run; return where it is, and its first sentence.

    The sentence says whether the run beat the trivial baseline: a low level's own labels plus
    reference energies that are fitted to the target's labels that the training may use.

    Parameters
    ----------
    path
        The run folder.
    out
        The page; by default ``report.html`` in the run folder.
    data
        Where the data set is, if no longer where the configuration says.

    Raises
    ------
    FileNotFoundError
        If the folder, the data set or a checkpoint is not there.
    ValueError
        If it is no run folder, its training has not ended, or the data set has changed.
    OSError
        If the page cannot be written.
    """
    run = open_run(path, data)
    held = held_out(run)
    compared = comparisons(run, held)
    sentences = first_sentences(run, held, compared)
    target = [each for each in held if each.fidelity == run.config.target]
    page = render(
        "report/page.html",
        name=run.folder.path.resolve().name,
        sentences=sentences,
        config=run.config,
        settings=run.folder.config_file.read_text(),
        members=len(run.folder.members()),
        minutes=sum(each.minutes for each in run.trainings),
        splits=run.splits,
        trainings=run.trainings,
        notes=_notes(run),
        roles=_roles(run, held, compared),
        learning=_learning(run),
        parity=[drawing for each in held for drawing in _parity(each)],
        coverage=_coverage(run),
        breakdown=[_breakdown(each) for each in target],
        worst=_worst(target),
        versions=run.metrics["versions"],
    )
    place = out or run.folder.path / "report.html"
    with replacing(place) as temporary:
        temporary.write_text(page, encoding="utf-8")
    return place, sentences[0]


def _notes(run: Run) -> list[str]:
    notes = []
    if run.config.method.subtracted is not None:
        notes.append(
            f"The model is the difference to {run.config.method.subtracted}, which runs live at "
            "inference; all errors are those of its own labels plus the prediction."
        )
    if run.folder.weights_file.is_file():
        weights = json.loads(run.folder.weights_file.read_text())
        notes.append(f"Of the low-level weights that were tried, {weights['chosen']:g} was best.")
    if run.folder.diagnosis_file.is_file():
        diagnosis = json.loads(run.folder.diagnosis_file.read_text())
        notes.append(str(Diagnosis.model_validate(diagnosis)))
    return notes


def _roles(run: Run, held: Sequence[HeldOut], compared: Sequence[Comparison]) -> list[Any]:
    """Return title and rows of the table of errors of every role that has labels."""
    tables = []
    for role in TITLES:
        rows = _rows(run.metrics, role) if role in ROLES else []
        rows += [(f.fidelity, f.errors) for f in held if f.role == role and role not in ROLES]
        for each in compared:
            if each.held.role == role:
                if not each.is_of_all:
                    rows.append((f"{each.held.fidelity}, where {each.low} has labels", each.model))
                rows.append((f"trivial baseline: {each.low}", each.trivial))
        if rows:
            tables.append({"title": TITLES[role], "rows": rows})
    return tables


def _rows(metrics: dict[str, Any], role: str) -> list[tuple[str, Errors]]:
    """Return what the metrics say of a role: of levels, members and the closed form."""
    found = list(metrics[role].items())
    for number, member in enumerate(metrics.get("members", [])):
        found += [(f"{level}, member {number}", row) for level, row in member[role].items()]
    closed = metrics.get("closed_form", {}).get(role) or {}
    found += [(CLOSED_FORM[name], row) for name, row in closed.items() if row is not None]
    kinds = ("n_energies", "n_forces", "n_stress")
    return [(title, row) for title, row in found if any(row.get(kind) for kind in kinds)]


def _learning(run: Run) -> Drawings:
    curves = []
    for each in run.trainings:
        columns = each.rows[0] if each.rows else {}
        for column in columns:
            if column.endswith(f"_{ENERGY}"):
                level = column.removesuffix(f"_{ENERGY}")
                name = f"{each.stage}: {level}" if each.stage else level
                curves.append(Curve(name, level, each.rows))
    drawn = [learning_curves(curves, quantity) for quantity in (ENERGY, FORCE, STRESS)]
    return [(svg, "") for svg in drawn if svg]


def _parity(held: HeldOut) -> Drawings:
    colour = COLOURS[0] if held.role == ROLES[0] else COLOURS[1]
    return [(svg, f"{held.fidelity}, {held.role}") for svg in parity_plots(held.parity, colour)]


def _coverage(run: Run) -> Drawings:
    shares = {}
    for role, kinds in run.metrics.get("uncertainty", {}).items():
        for kind in ("energies", "forces"):
            covered = kinds.get(kind) or {}
            if covered.get("share_within_one_std") is not None:
                shares[f"{kind}, {role}"] = covered["share_within_one_std"]
    if not shares:
        return []
    words = ", ".join(f"{share:.0%} of {name}" for name, share in shares.items())
    expected = "of normally distributed errors it would be 68% (dashed)"
    return [(coverage_plot(shares), f"Within one standard deviation: {words}; {expected}.")]


def _breakdown(held: HeldOut) -> dict[str, Any]:
    groups, more = by_group(held)
    return {
        "role": held.role,
        "elements": by_element(held),
        "temperatures": by_temperature(held),
        "groups": groups,
        "more": more,
    }


def _worst(held: Sequence[HeldOut]) -> Drawings:
    """Draw the structures with the largest errors, of all roles together."""
    ranked = []
    for each in [e for e in held if e.errors["n_forces"]] or held:
        deviations = Deviations.of(each)
        errors, unit = deviations.by_geometry()
        ranked += [(e, k, unit, deviations, each) for k, e in enumerate(errors) if np.isfinite(e)]
    ranked.sort(key=lambda entry: -entry[0])
    return [
        (_drawn(each, k, deviations), _caption(each, k, error, unit))
        for error, k, unit, deviations, each in ranked[:DRAWN]
    ]


def _drawn(held: HeldOut, k: int, deviations: Deviations) -> str:
    errors = np.nan_to_num(deviations.forces[deviations.geometry == k])
    return draw_structure(held.store.atoms(k), errors)


def _caption(held: HeldOut, k: int, error: float, unit: str) -> str:
    molecule = held.store.group[k] or "a structure without a name"
    return f"{molecule}, geometry {held.indices[k]} ({held.role}): {error:.0f} {unit}"

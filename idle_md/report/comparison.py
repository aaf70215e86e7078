"""A run against the trivial baseline, in words and numbers."""

from dataclasses import dataclass

from idle_md.report.baseline import NoSharedLabelsError, TrivialBaseline, ratios, verdict
from idle_md.report.held_out import HeldOut, labelled_at_both
from idle_md.report.run import Run
from idle_md.train.errors import Errors, compare


@dataclass(frozen=True)
class Comparison:
    """Errors of the model and of a trivial baseline on the same labels of the target.

    Attributes
    ----------
    held
        What the model predicts.
    low
        The low level of the baseline.
    model, trivial
        Errors where both levels are labelled.
    """

    held: HeldOut
    low: str
    model: Errors
    trivial: Errors

    @property
    def is_of_all(self) -> bool:
        """Whether the low level is labelled wherever the target is."""
        return self.model == self.held.errors


def low_levels(run: Run) -> list[str]:
    """Return the levels below the target whose labels a run was given, or needs live."""
    named = [*run.config.labels, run.config.method.subtracted]
    return [f for f in dict.fromkeys(named) if f in run.store.labels and f != run.config.target]


def comparisons(run: Run, held: list[HeldOut]) -> list[Comparison]:
    """Return the comparisons at the target with all baselines that there are, by role."""
    found = []
    validation = not any(each.role == "validation" for each in held)
    for low in low_levels(run):
        try:
            baseline = TrivialBaseline.fitted(run.config, low, validation)
        except NoSharedLabelsError:
            continue
        for each in held:
            if each.fidelity == run.config.target:
                part = labelled_at_both(each.store, each.fidelity, low)
                predicted = each.energies, each.forces, each.stresses
                model = compare(part, each.fidelity, *predicted)[0]
                trivial = baseline.errors(part)[0]
                if ratios(model, trivial):
                    found.append(Comparison(each, low, model, trivial))
    return found


def first_sentences(run: Run, held: list[HeldOut], found: list[Comparison]) -> list[str]:
    """Return whether the run beat the trivial baseline, and on what, or why nobody knows.

    The baseline is that of the low level whose energies are best.
    """
    if not found:
        return [f"The model could not be compared with the trivial baseline: {_why(run, held)}."]
    role = next(each.role for each in held if any(one.held is each for one in found))
    of_role = [each for each in found if each.held.role == role]
    best = min(of_role, key=lambda each: each.trivial["energy_mae_mev"] or float("inf"))
    words = verdict("The model", best.model, f"{best.low}'s own labels", best.trivial)
    labels = [f"{best.model['n_energies']:,} {run.config.target} energies"]
    if best.model["n_forces"]:
        labels.append(f"the forces of {best.model['n_forces']:,} geometries")
    if "n_stress" in best.model:
        labels.append(f"{best.model['n_stress']:,} stresses")
    where = "" if best.is_of_all else f"where {best.low} is labelled too, "
    return [words, f"Both are judged by {' and '.join(labels)} ({where}role {role})."]


def _why(run: Run, held: list[HeldOut]) -> str:
    target, lows = run.config.target, low_levels(run)
    if not any(each.fidelity == target for each in held):
        return f"no geometry that is held out has a {target} label"
    if not lows:
        return f"the run was given no labels of a level below {target}"
    return (
        f"no {target} labels, both for training and held out, are on geometries that have labels "
        f"of {' or '.join(lows)} too"
    )

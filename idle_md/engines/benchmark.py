"""What benchmarks of molecular dynamics give, in every engine."""

from collections.abc import Mapping
from dataclasses import dataclass

from idle_md.deploy.timing import Comparison

Way = Mapping[str, str | int | None]
"""One way to run a model: an option of the engine by its name, None where the engine chooses."""


@dataclass(frozen=True)
class Timing:
    """Medians over samples of all ways, which took turns.

    Attributes
    ----------
    way
        How the model was run, with what the engine chose.
    step_ms
        A step of dynamics.
    core_ms
        An evaluation of the model alone, the mean of all MPI ranks.
    overhead_ms
        What of a step is not the model: neighbour lists, edges, forces, integration, communication
        and waiting for the slowest rank.
    katom_steps_per_s, ns_per_day
        Thousands of atoms times steps per second, and speed at the timestep.
    why_not
        Why it could not be run; then the others are None.
    """

    way: Way
    step_ms: float | None = None
    core_ms: float | None = None
    overhead_ms: float | None = None
    katom_steps_per_s: float | None = None
    ns_per_day: float | None = None
    why_not: str | None = None


@dataclass(frozen=True)
class Report:
    """Timings of one structure.

    Attributes
    ----------
    atoms
        Number of atoms.
    timings
        One for every way.
    edges
        Directed pairs within the cutoff; None where they were not counted.
    empty_ms
        A step without any force, by platform, where that was measured.
    single_fidelity
        The model against one of the same size that has seen one fidelity alone; None for a
        committee, and where that was not measured.
    """

    atoms: int
    timings: list[Timing]
    edges: int | None = None
    empty_ms: Mapping[str, float] | None = None
    single_fidelity: Comparison | None = None

"""Which particles of an OpenMM System a model describes."""

from collections import Counter
from collections.abc import Sequence

from openmm import app


def chosen_particles(
    topology_or_numbers: app.Topology | Sequence[int], atoms: Sequence[int] | None
) -> tuple[list[int], list[int]]:
    """Return atomic numbers (n,) and indices (n,) of the particles that a model describes.

    Parameters
    ----------
    topology_or_numbers
        All particles: a topology, or one atomic number per particle. 0 stands for particles that
        are no atoms.
    atoms
        Indices of those that are meant; None means all.

    Raises
    ------
    ValueError
        If an index is out of range or repeated, or there is none.
    """
    if isinstance(topology_or_numbers, app.Topology):
        elements = [atom.element for atom in topology_or_numbers.atoms()]
        numbers = [0 if element is None else element.atomic_number for element in elements]
    else:
        numbers = [int(number) for number in topology_or_numbers]
    chosen = _checked(atoms, len(numbers))
    return [numbers[atom] for atom in chosen], chosen


def is_periodic(topology_or_numbers: app.Topology | Sequence[int]) -> bool:
    """Return whether these are a topology with box vectors."""
    if not isinstance(topology_or_numbers, app.Topology):
        return False
    return topology_or_numbers.getPeriodicBoxVectors() is not None


def _checked(atoms: Sequence[int] | None, n_particles: int) -> list[int]:
    if atoms is None:
        return list(range(n_particles))
    chosen = [int(atom) for atom in atoms]
    outside = [atom for atom in chosen if not 0 <= atom < n_particles]
    if outside:
        raise ValueError(f"atoms {outside[:5]} are not among the {n_particles} particles")
    if not chosen:
        raise ValueError("no atoms are given: an OpenMM force of the model needs at least one")
    repeated = [atom for atom, count in Counter(chosen).items() if count > 1]
    if repeated:
        raise ValueError(f"atoms {repeated[:5]} are given more than once")
    return chosen

"""What an importer is asked for: which arrays of a file are labels, of which fidelity."""

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from idle_md.data.xyzline import LABEL

_NAMING = "--energy KEY=FIDELITY and --forces KEY=FIDELITY (also --stress, --virial)"
_BOXED = ("stress", "virial", "virials")  # the first that a file has is read
_UNIT = re.compile(r"units?$", re.IGNORECASE)
_WEIGHT = re.compile(r"(^|[_-])weights?$", re.IGNORECASE)


@dataclass(frozen=True)
class Request:
    """Which arrays of a file are labels, and of which fidelity.

    Attributes
    ----------
    fidelity
        Name of the one level that the file holds.
    energy, forces, stress, virial
        Fidelity of every key that holds energies, forces, stresses or virials.
    geometries
        File of the geometries where the labels come without any.
    level_key
        Key whose value names the level of each frame, or ``none`` where none does.
    """

    fidelity: str | None = None
    energy: Mapping[str, str] = field(default_factory=dict)
    forces: Mapping[str, str] = field(default_factory=dict)
    stress: Mapping[str, str] = field(default_factory=dict)
    virial: Mapping[str, str] = field(default_factory=dict)
    geometries: Path | None = None
    level_key: str | None = None

    def __post_init__(self) -> None:
        if self.fidelity and self.names:
            raise ValueError(
                f"fidelity {self.fidelity!r} and keys of {', '.join(self.names)}: give --fidelity, "
                "or --energy, --forces, --stress and --virial with a fidelity each"
            )
        for pairs in (
            [*self.energy.items()],
            [*self.forces.items()],
            [*self.stress.items(), *self.virial.items()],
        ):
            named = [name for _, name in pairs]
            twice = [name for name in self.names if named.count(name) > 1]
            if twice:
                keys = [key for key, name in pairs if name == twice[0]]
                raise ValueError(f"{' and '.join(keys)} are both {twice[0]!r}: name them apart")
        _check_names([self.fidelity] if self.fidelity else self.names)

    @property
    def names(self) -> list[str]:
        """The fidelities that have keys."""
        every = (self.energy, self.forces, self.stress, self.virial)
        return list(dict.fromkeys(name for mapping in every for name in mapping.values()))

    def among(
        self,
        path: Path,
        energy: Sequence[str],
        forces: Sequence[str],
        default: tuple[str, str],
        theory: str = "",
        stress: Sequence[str] | None = None,
    ) -> "Request":
        """The request for a file that has certain keys, with a fidelity for every key.

        Parameters
        ----------
        path
            The file, for messages.
        energy, forces
            Keys that the file has.
        default
            Keys of the energies and forces of the one level, where none were asked for.
        theory
            The level as the file names it.
        stress
            Keys that may hold stresses or virials; None where none are read from the format.

        Raises
        ------
        ValueError
            A key is not there, or the one level has no name.
        """
        missing = [key for key in self.energy if key not in energy]
        missing += [key for key in self.forces if key not in forces]
        asked = [*self.stress, *self.virial]
        if asked and stress is None:
            raise ValueError(
                f"{path}: no stresses are read from this format: leave out --stress and --virial, "
                "or convert the file to extended XYZ with lattices"
            )
        missing += [key for key in asked if key not in (stress or ())]
        has_energy, has_forces = default[0] in energy, default[1] in forces
        if not self.names and not has_energy and not has_forces:
            missing = [default[0]]
        if missing:
            found = ", ".join(dict.fromkeys([*energy, *forces])) or "none"
            raise ValueError(
                f"{path}: missing key {missing[0]!r}: the keys found are {found}; name those of "
                f"the labels with {_NAMING}"
            )
        if self.names:
            return self
        name = self.fidelity or sanitised(theory)
        if not name:
            raise ValueError(
                f"{path}: the file does not say its level of theory; name it, for example "
                "--fidelity pbe"
            )
        boxed = [key for key in _BOXED if key in (stress or ())][:1]
        return Request(
            energy=dict.fromkeys(default[:has_energy], name),
            forces=dict.fromkeys(default[1 : 1 + has_forces], name),
            stress=dict.fromkeys(set(boxed) & {_BOXED[0]}, name),
            virial=dict.fromkeys(set(boxed) - {_BOXED[0]}, name),
        )


def lookalikes(keys: Iterable[str], request: "Request") -> list[str]:
    """What a user is told of keys that look like labels or weights and are not read."""
    taken = {*request.energy, *request.forces, *request.stress, *request.virial}
    left = [key for key in keys if key not in taken]
    labels = [key for key in left if LABEL.search(key) and not _UNIT.search(key)]
    weights = [key for key in left if _WEIGHT.search(key)]
    notes = []
    if labels:
        notes.append(
            f"not imported, though it looks like labels: {', '.join(labels)} ({_NAMING} do)"
        )
    if weights:
        notes.append(f"weights are not used: {', '.join(weights)}")
    return notes


def sanitised(name: str) -> str:
    """A level's name as the name of a fidelity: small letters, digits, ``_`` and ``-``."""
    return re.sub(r"[^\w-]", "", re.sub(r"[\s/.]+", "_", name.strip()), flags=re.ASCII).lower()


def _check_names(names: Iterable[str]) -> None:
    for name in names:
        if not re.fullmatch(r"[\w-]+", name, flags=re.ASCII):
            raise ValueError(
                f"fidelity {name!r}: letters, digits, _ and - make a name, such as "
                f"{sanitised(name) or 'pbe'!r}"
            )

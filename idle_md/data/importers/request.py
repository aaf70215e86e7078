"""What an importer is asked for: which arrays of a file are labels, of which fidelity."""

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from idle_md.data.xyzline import LABEL

_UNIT = re.compile(r"units?$", re.IGNORECASE)
_WEIGHT = re.compile(r"(^|[_-])weights?$", re.IGNORECASE)


@dataclass(frozen=True)
class Request:
    """Which arrays of a file are labels, and of which fidelity.

    Attributes
    ----------
    fidelity
        Name of the one level that the file holds.
    energy, forces
        Fidelity of every key that holds energies, and of every key that holds forces.
    geometries
        File of the geometries where the labels come without any.
    level_key
        Key whose value names the level of each frame, or ``none`` where none does.
    """

    fidelity: str | None = None
    energy: Mapping[str, str] = field(default_factory=dict)
    forces: Mapping[str, str] = field(default_factory=dict)
    geometries: Path | None = None
    level_key: str | None = None

    def __post_init__(self) -> None:
        if self.fidelity and self.names:
            raise ValueError(
                f"fidelity {self.fidelity!r} and keys of {', '.join(self.names)}: give --fidelity, "
                "or --energy and --forces with a fidelity each"
            )
        for mapping in (self.energy, self.forces):
            twice = [name for name in self.names if list(mapping.values()).count(name) > 1]
            if twice:
                keys = [key for key, name in mapping.items() if name == twice[0]]
                raise ValueError(f"{' and '.join(keys)} are both {twice[0]!r}: name them apart")
        _check_names([self.fidelity] if self.fidelity else self.names)

    @property
    def names(self) -> list[str]:
        """The fidelities that have keys."""
        return list(dict.fromkeys([*self.energy.values(), *self.forces.values()]))

    def among(
        self,
        path: Path,
        energy: Sequence[str],
        forces: Sequence[str],
        default: tuple[str, str],
        theory: str = "",
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

        Raises
        ------
        ValueError
            A key is not there, or the one level has no name.
        """
        missing = [key for key in self.energy if key not in energy]
        missing += [key for key in self.forces if key not in forces]
        has_energy, has_forces = default[0] in energy, default[1] in forces
        if not self.names and not has_energy and not has_forces:
            missing = [default[0]]
        if missing:
            found = ", ".join(dict.fromkeys([*energy, *forces])) or "none"
            raise ValueError(
                f"{path}: missing key {missing[0]!r}: the keys found are {found}; name those of "
                "the labels with --energy KEY=FIDELITY and --forces KEY=FIDELITY"
            )
        if self.names:
            return self
        name = self.fidelity or sanitised(theory)
        if not name:
            raise ValueError(
                f"{path}: the file does not say its level of theory; name it, for example "
                "--fidelity pbe"
            )
        return Request(
            energy=dict.fromkeys(default[:has_energy], name),
            forces=dict.fromkeys(default[1 : 1 + has_forces], name),
        )


def lookalikes(keys: Iterable[str], request: "Request") -> list[str]:
    """What a user is told of keys that look like labels or weights and are not read."""
    left = [key for key in keys if key not in request.energy and key not in request.forces]
    labels = [key for key in left if LABEL.search(key) and not _UNIT.search(key)]
    weights = [key for key in left if _WEIGHT.search(key)]
    notes = []
    if labels:
        notes.append(
            f"not imported, though it looks like labels: {', '.join(labels)} (--energy "
            "KEY=FIDELITY and --forces KEY=FIDELITY do)"
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

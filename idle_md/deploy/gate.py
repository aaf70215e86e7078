"""The gate: what an engine is about to describe with a model, and what the model was trained on."""

import warnings
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Literal

import ase

from idle_md.deploy.metadata import Metadata
from idle_md.elements import symbols
from idle_md.states import State, state_of

WHOLE = 0.05
"""How far, in e, a sum of partial charges may be from the integer that it stands for."""
UNKNOWN = State()
What = Literal["charges", "multiplicities"]


class StateWarning(UserWarning):
    """A model is to describe a charge or a spin that it was not trained on, as far as is known."""


def check_use(
    about: Metadata,
    numbers: Sequence[int],
    atoms: Sequence[int] | None = None,
    state: State = UNKNOWN,
    *,
    is_whole: bool = False,
) -> None:
    """Check that a model was trained on the likes of what it is to describe.

    Parameters
    ----------
    about
        What the model says of itself.
    numbers, atoms
        Atomic numbers of what it is to describe, and the indices that errors give to these atoms,
        by default 0, 1, ...
    state
        Total charge and multiplicity of all of them.
    is_whole
        Whether they are all that there is, and not periodic: an odd number of electrons is an open
        shell then, whatever else is known.

    Warns
    -----
    StateWarning
        If the model was not trained on this charge or this spin, or its file does not say.

    Raises
    ------
    ValueError
        If it does not know an element; names the elements, the atoms and what the model knows.
    """
    check_elements(about, numbers, atoms)
    remark = remark_on_state(about, numbers, state, is_whole=is_whole)
    if remark:
        warnings.warn(remark, StateWarning, stacklevel=3)


def check_elements(
    about: Metadata, numbers: Sequence[int], atoms: Sequence[int] | None = None
) -> None:
    """Check that a model knows all elements, see :func:`check_use`."""
    unknown: dict[int, list[int]] = {}
    for atom, number in zip(atoms or range(len(numbers)), numbers, strict=True):
        if int(number) not in about.elements:
            unknown.setdefault(int(number), []).append(atom)
    if unknown:
        found = ", ".join(f"{_symbol(z)} ({_atoms(who)})" for z, who in unknown.items())
        known = ", ".join(symbols(about.elements))
        raise ValueError(
            f"the model does not know {found}: it was trained on {known}; "
            "train on data that have these elements, or leave these atoms to another force"
        )


def remark_on_state(
    about: Metadata, numbers: Sequence[int], state: State = UNKNOWN, *, is_whole: bool = False
) -> str:
    """Return what there is to say of charge and spin, see :func:`check_use`; nothing for nothing.

    A model is given neither, so it takes what it describes for what it was trained on.
    """
    charge = None if state.charge is None else round(state.charge)
    if charge is not None:
        is_integer = abs(state.charge - charge) <= WHOLE  # type: ignore[operator]
        if not is_integer or charge not in ({0: 0} if about.charges is None else about.charges):
            return (
                f"what the model describes has a charge of {state.charge:+.2g} e: the model is "
                f"given no charge, and {trained_on(about.charges, 'charges')}"
            )
    spin = state.multiplicity
    known = {1: 0} if about.multiplicities is None else about.multiplicities
    if len(numbers) < 2 or not known:
        return ""
    if spin is not None and spin not in known:
        return (
            f"what the model describes has a multiplicity of {spin}: the model is given no spin, "
            f"and {trained_on(about.multiplicities, 'multiplicities')}"
        )
    if spin is None and is_whole and about.multiplicities is not None:
        total = sum(map(int, numbers))
        charges = [charge] if charge is not None else list(about.charges or [0])
        if not {1 + (total - each) % 2 for each in charges} & set(known):
            return (
                f"what the model describes has {total - charges[0]} electrons where its charge is "
                f"{_signed(charges[0])}, one of them unpaired: the model is given no spin, and "
                f"{trained_on(known, 'multiplicities')}"
            )
    return ""


@dataclass(frozen=True)
class Remarks:
    """What there is to say of the charges and spins of many structures, each thing once.

    Attributes
    ----------
    about
        What the model says of itself.
    places
        Indices of structures by what there is to say of them.
    """

    about: Metadata
    places: dict[str, list[int]] = field(default_factory=dict)

    def note(self, place: int, atoms: ase.Atoms) -> None:
        """Compare a structure with what the model was trained on."""
        self.note_state(place, atoms.numbers, state_of(atoms), is_whole=not atoms.pbc.any())

    def note_state(
        self, place: int, numbers: Sequence[int], state: State, *, is_whole: bool
    ) -> None:
        """The same of a structure in parts, see :func:`check_use`."""
        remark = remark_on_state(self.about, numbers, state, is_whole=is_whole)
        if remark:
            self.places.setdefault(remark, []).append(place)

    def warn(self) -> None:
        """Warn of them, once each."""
        for remark, places in self.places.items():
            shown = ", ".join(map(str, places[:5])) + (", ..." if places[5:] else "")
            warnings.warn(f"structures {shown}: {remark}", StateWarning, stacklevel=3)


def counted(known: Mapping[int, int], what: What) -> str:
    """Return charges or multiplicities in words, with the number of geometries of each."""
    name = _signed if what == "charges" else str
    shown = ", ".join(f"{name(value)} ({count:,})" for value, count in sorted(known.items()))
    return shown or "none"


def trained_on(known: Mapping[int, int] | None, what: What) -> str:
    """Say which charges or multiplicities a model was trained on, None where that is not known."""
    if known is None:
        return (
            f"its file does not say which {what} it was trained on: use it only if this was one of "
            "them"
        )
    return f"it was trained on geometries of the {what} {counted(known, what)}"


def _signed(charge: int) -> str:
    return f"{charge:+d}" if charge else "0"


def _symbol(number: int) -> str:
    return symbols([number])[0] if number else "particles without an element"


def _atoms(indices: list[int]) -> str:
    shown = ", ".join(str(i) for i in indices[:5])
    return ("atom " if len(indices) == 1 else "atoms ") + shown + (", ..." if indices[5:] else "")

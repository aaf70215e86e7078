"""Levels of theory: what a fidelity's labels were calculated with."""

from pydantic import Field

from idle_md.configuration import Section


class LevelOfTheory(Section):
    """How the labels of one fidelity were calculated."""

    method: str
    """Electronic structure method, for example ``"wB97X"``."""
    basis: str | None = None
    """Basis set; none for methods that bring their own."""
    program: str | None = None
    """Program that did the calculation."""
    version: str | None = None
    """Version of that program."""
    cpu_seconds_per_label: float | None = Field(default=None, ge=0)
    """Mean CPU seconds, on one core, that one label costs."""
    isolated_atoms_ev: dict[str, float] | None = None
    """Energies of isolated atoms in their ground states, by element."""
    notes: str | None = None
    """Settings that matter to somebody who wants the same numbers."""

    @property
    def title(self) -> str:
        """Method and basis in the usual notation, ``"wB97X/6-31G*"``."""
        return self.method if self.basis is None else f"{self.method}/{self.basis}"

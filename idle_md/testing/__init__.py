"""Physical invariants that every backbone, potential, deployed model and engine must have.

A test file, of pytest, inherits classes of invariants and says what to test, as a fixture::

    class TestMyEngine(Invariants, Stress, Batching):
        @pytest.fixture(scope="class")
        @classmethod
        def subject(cls):
            return Subject(MyEngine().evaluator("model.pt"), elements=[1, 6, 7, 8], cutoff=5.0)

:class:`OwnedAtoms` and :class:`Members` take a deployed model instead, as the fixture ``model``.
What gives energies and forces in another form becomes an evaluator by one of the functions here.
"""

from idle_md.testing.contract import Members, OwnedAtoms
from idle_md.testing.evaluators import (
    calculator_evaluator,
    isolated_energies,
    model_evaluator,
    openmm_evaluator,
    potential_evaluator,
)
from idle_md.testing.invariants import (
    AtomicEnergies,
    Batching,
    Derivatives,
    Dynamics,
    Invariants,
    Stress,
    Symmetries,
)
from idle_md.testing.subject import CELL, Subject, assert_close, random_structure

__all__ = [
    "CELL",
    "AtomicEnergies",
    "Batching",
    "Derivatives",
    "Dynamics",
    "Invariants",
    "Members",
    "OwnedAtoms",
    "Stress",
    "Subject",
    "Symmetries",
    "assert_close",
    "calculator_evaluator",
    "isolated_energies",
    "model_evaluator",
    "openmm_evaluator",
    "potential_evaluator",
    "random_structure",
]

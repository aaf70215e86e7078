"""Physical invariants that every backbone, potential, deployed model and engine must have."""

from idle_md.testing.invariants import (
    CELL,
    SMALLEST_FORCE,
    TOLERANCE,
    Evaluate,
    Invariants,
    Result,
    Subject,
    Symmetries,
    assert_close,
    calculator_evaluator,
    isolated_energies,
    model_evaluator,
    openmm_evaluator,
    potential_evaluator,
    random_structure,
)

__all__ = [
    "CELL",
    "SMALLEST_FORCE",
    "TOLERANCE",
    "Evaluate",
    "Invariants",
    "Result",
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

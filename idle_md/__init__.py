"""Implicit delta learning: train at several levels of theory, run dynamics at one of them."""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from idle_md.engines.ase import Calculator
    from idle_md.engines.predict import Evaluation, evaluate

__all__ = ["Calculator", "Evaluation", "evaluate"]

PLACES = {
    "Calculator": "idle_md.engines.ase",
    "Evaluation": "idle_md.engines.predict",
    "evaluate": "idle_md.engines.predict",
}


def __getattr__(name: str) -> Any:
    """Import what needs torch only when it is asked for."""
    if name in PLACES:
        return getattr(import_module(PLACES[name]), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")

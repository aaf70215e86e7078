"""Implicit delta learning: train at several levels of theory, run dynamics at one of them."""

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from idle_md.engines.ase import Calculator

__all__ = ["Calculator"]


def __getattr__(name: str) -> Any:
    """Import what needs torch only when it is asked for."""
    if name == "Calculator":
        from idle_md.engines.ase import Calculator

        return Calculator
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")

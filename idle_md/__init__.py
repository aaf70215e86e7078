"""Implicit delta learning: train at several levels of theory, run dynamics at one of them.

``train`` makes a run folder of labelled geometries, ``export`` keeps one level of theory of it in a
file ``model.pt``, and what remains takes that file: ``predict`` for many structures, ``Calculator``
for ASE, ``frequencies`` for vibrations, ``load`` for the model itself. ``testing`` holds physical
invariants for tests of one's own potentials and engines. OpenMM and LAMMPS are in
:mod:`idle_md.engines`.

Units are eV, angstrom and what is made of them, everywhere.
"""

import sys
from importlib import import_module
from types import ModuleType
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from idle_md import testing, train
    from idle_md.deploy import export_checkpoint as export
    from idle_md.deploy import load
    from idle_md.engines.ase import Calculator
    from idle_md.engines.frequencies import frequencies
    from idle_md.engines.predict import evaluate, predict
    from idle_md.engines.results import Prediction

__all__ = [
    "Calculator",
    "Prediction",
    "evaluate",
    "export",
    "frequencies",
    "load",
    "predict",
    "testing",
    "train",
]

PLACES = {
    "Calculator": ("idle_md.engines.ase", "Calculator"),
    "Prediction": ("idle_md.engines.results", "Prediction"),
    "evaluate": ("idle_md.engines.predict", "evaluate"),
    "export": ("idle_md.deploy", "export_checkpoint"),
    "frequencies": ("idle_md.engines.frequencies", "frequencies"),
    "load": ("idle_md.deploy", "load"),
    "predict": ("idle_md.engines.predict", "predict"),
}
FOLDERS = ("testing", "train")


class CallableFolder(ModuleType):
    """A folder that can be called, as the function in it that has its name."""

    def __call__(self, *arguments: Any, **options: Any) -> Any:
        """Return what the function returns."""
        return getattr(self, self.__name__.rpartition(".")[2])(*arguments, **options)


class Face(ModuleType):
    """The package: Python puts its folder ``train`` here, under the name of a function."""

    def __setattr__(self, name: str, value: Any) -> None:
        if name == "train" and isinstance(value, ModuleType):
            value.__class__ = CallableFolder
        super().__setattr__(name, value)


sys.modules[__name__].__class__ = Face


def __getattr__(name: str) -> Any:
    """Import what needs torch only when it is asked for."""
    if name in FOLDERS:
        return import_module(f"{__name__}.{name}")
    if name in PLACES:
        place, attribute = PLACES[name]
        return getattr(import_module(place), attribute)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


def __dir__() -> list[str]:
    return [*globals(), *__all__]

"""What an engine is to checks, benchmarks, tests and the doctor."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal, Protocol

import ase

from idle_md.deploy import DeployedModel
from idle_md.deploy.kernels import why_portable
from idle_md.engines.results import LeftOut, Prediction
from idle_md.native.operators import load_operators
from idle_md.native.places import REMEDY

Evaluate = Callable[[Sequence[ase.Atoms]], list[Prediction | LeftOut]]
"""Evaluates structures of any size and periodicity, and says why it leaves one out."""
Runnable = Literal["portable", "native"]
"""The kernels that engines are compared with."""


class Engine(Protocol):
    """One way to run a deployed model.

    A package adds its own by an entry point of the group ``idle_md.engines`` that names a class, or
    any callable without arguments that returns an engine.
    """

    @property
    def name(self) -> str:
        """What tables call it: the program, then how it runs, such as ``"ASE, native"``."""
        ...

    def why_not(self, model: DeployedModel | None = None) -> str | None:
        """Return why the engine cannot run here, with the remedy; or None if it can.

        Parameters
        ----------
        model
            Asks for one model; None asks for what is installed alone.
        """
        ...

    def evaluator(self, path: str | Path) -> Evaluate:
        """Return what evaluates structures with the model of a file, which is read once."""
        ...


@dataclass(frozen=True)
class Absent:
    """In the place of engines whose package is not installed.

    Attributes
    ----------
    name
        Of the program.
    extra
        What of this package brings it.
    """

    name: str
    extra: str

    def why_not(self, model: DeployedModel | None = None) -> str:
        """Return that it is not installed."""
        return f"{self.name} is not installed: `pip install 'idle-md[{self.extra}]'`"

    def evaluator(self, path: str | Path) -> Evaluate:
        """Raise ModuleNotFoundError."""
        raise ModuleNotFoundError(self.why_not())


def why_not_on(kernels: Runnable, model: DeployedModel | None) -> str | None:
    """Return why a model, or any model, cannot run on these kernels here; None if it can."""
    if kernels == "portable":
        return None
    if model is None:
        return None if load_operators() else f"native operators are not built: {REMEDY}"
    return why_portable(model.metadata, model.device)

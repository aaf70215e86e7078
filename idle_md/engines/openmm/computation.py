"""The functions of PythonForces, which pickle into a System's XML."""

import math
from collections.abc import Callable
from functools import cached_property
from pathlib import Path
from threading import Lock
from typing import Any

import numpy as np
import torch
from openmm import State, unit
from torch import Tensor

from idle_md.deploy import DeployedModel, load
from idle_md.deploy.replay import Replayed
from idle_md.deploy.torchscript import from_bytes, to_bytes
from idle_md.devices import find_device
from idle_md.engines.edges.room import with_room
from idle_md.engines.openmm.module import PICKLED_AS, Attachment


class PythonComputation:
    """The function of a PythonForce; pickles into a System's XML with the model inside it.

    What is in a pickle becomes a module when it is first called: OpenMM crashes where an error is
    raised while it reads XML.

    Parameters
    ----------
    module
        A scripted :class:`OpenMMModule`.
    device
        Where it runs.
    can_be_replayed
        Whether it is native operators on a GPU, which CUDA graphs can record.
    """

    __module__ = PICKLED_AS
    can_be_replayed = False  # in XML of before there were graphs

    def __init__(
        self, module: torch.jit.ScriptModule, device: torch.device, can_be_replayed: bool = False
    ) -> None:
        self.content = to_bytes(module)
        self.device = str(device)
        self.periodic: bool = module.periodic
        self.can_be_replayed = can_be_replayed

    def __getstate__(self) -> dict[str, Any]:
        made = ("module", "step", "lock")
        return {key: value for key, value in vars(self).items() if key not in made}

    def _locked(self) -> Lock:
        """Return what one evaluation holds from its list of neighbours to what was wrong with it.

        Contexts of one System in several threads share that list, on a GPU.
        """
        lock: Lock = vars(self).setdefault("lock", Lock())
        return lock

    @cached_property
    def module(self) -> torch.jit.ScriptModule:
        """What is called."""
        return from_bytes(self.content, find_device(self.device))

    @cached_property
    def step(self) -> Callable[..., tuple[Tensor, ...]]:
        """What calls it."""
        forward: Callable[..., tuple[Tensor, ...]] = self.module.forward
        return Replayed(forward, torch.device(self.device)) if self.can_be_replayed else forward

    def __call__(self, state: State, positions: Tensor | None = None) -> tuple[Any, Any]:
        """Return the energy in kJ/mol and the forces (N, 3) in kJ/mol/nm of a State.

        As arrays, or as tensors where the positions (N, 3) in nm are given as one, which is what a
        PythonTorchForce does.

        Raises
        ------
        ValueError
            If a neighbour list on a GPU cannot be made; where it has no room, it gets more.
        """
        as_tensor = positions is not None
        if positions is None:
            positions = _tensor(state.getPositions(asNumpy=True))
        inputs = [positions.to(self.device)]
        if self.periodic:
            inputs.append(_tensor(state.getPeriodicBoxVectors(asNumpy=True)).to(self.device))
        if as_tensor:
            energy, forces = self.step(*inputs)
            return energy, forces.to(positions.device)

        def evaluate() -> tuple[float, Tensor]:
            energy, forces = self.step(*inputs)
            return energy.item(), forces

        if self.can_be_replayed:
            with self._locked():
                module: Any = self.module
                value, forces = with_room(evaluate, _is_number, module.problem, self._make_room)
        else:
            value, forces = evaluate()
        return value, forces.cpu().numpy()

    def _make_room(self) -> None:
        self.module.make_room()
        assert isinstance(self.step, Replayed)
        self.step.forget()


def _is_number(found: tuple[float, Tensor]) -> bool:
    return math.isfinite(found[0])


def _tensor(quantity: unit.Quantity) -> Tensor:
    """Return what is in nm, as a State gives it: asking for the unit takes longer than the rest."""
    return torch.from_numpy(np.asarray(quantity._value))


class FileComputation(PythonComputation):
    """The same, but what pickles into the XML is the path of the model's file and its hash.

    Parameters
    ----------
    path
        The deployed model.
    model
        What was loaded from the path.
    attachment
        The particles.
    """

    __module__ = PICKLED_AS
    relative = False  # of what was pickled before there was a choice

    def __init__(self, path: Path, model: DeployedModel, attachment: Attachment) -> None:
        self.path, self.sha256 = str(path.resolve()), model.metadata.content_sha256
        self.device = str(model.device)
        self.kernels: Any = model.kernels
        self.relative = model.relative
        self.can_be_replayed = model.can_be_replayed
        self.attachment, self.periodic = attachment, attachment.periodic

    @cached_property
    def module(self) -> torch.jit.ScriptModule:
        """What is called."""
        model = load(self.path, self.device, kernels=self.kernels, relative=self.relative)
        if model.metadata.content_sha256 != self.sha256:
            raise ValueError(
                f"{self.path} is another model than the one that this System was written with: put "
                "that one back, or make the force anew"
            )
        return self.attachment.script(model)

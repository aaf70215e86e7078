"""The plug-in of openmm-ml: ``MLPotential("idle-md", modelPath="model.pt")``, or ``("idle-s")``.

openmm-ml loads it whenever it is imported itself, so everything that could fail is imported when
forces are made; but for openmmtorch, where it is installed, without which no TorchForce can be read
from a System's XML. Where that fails, the use of a model says why.
"""

import importlib.util
from collections.abc import Iterable
from contextlib import suppress
from typing import TYPE_CHECKING, Any

import openmm
from openmm import app
from openmmml.mlpotential import (  # type: ignore[import-untyped]
    MLPotentialImpl,
    MLPotentialImplFactory,
)

if TYPE_CHECKING:
    from idle_md.deploy import DeployedModel

if importlib.util.find_spec("openmmtorch") is not None:
    with suppress(Exception):
        import idle_md.engines.openmm  # noqa: F401

PACKAGE = "idle-md"
FORCE_OPTIONS = ("backend", "neighbors", "charge", "multiplicity")
PRECISIONS = {"single": "float32", "double": "float64"}
ENERGIES = {"energy": "total", "interaction_energy": "interaction"}
OPTIONS = (
    "modelPath",
    "device",
    "precision",
    "kernels",
    "returnEnergyType",
    "relative",
    *FORCE_OPTIONS,
)


class PotentialFactory(MLPotentialImplFactory):  # type: ignore[misc]
    """What the entry point names."""

    def createImpl(self, name: str, **options: Any) -> "Potential":  # noqa: N802
        """Return the potential of the options, see :class:`Potential`.

        Any name but that of the package is the name of a model that comes with it.
        """
        return Potential(options if name == PACKAGE else {"modelPath": name, **options})


class Potential(MLPotentialImpl):  # type: ignore[misc]
    """A deployed model for openmm-ml.

    Parameters
    ----------
    options
        Given here, or to ``createSystem`` and ``createMixedSystem``, which come first:
        ``modelPath`` (needed), ``device`` (``"cpu"``, ``"cuda"``), ``precision`` (``"single"``,
        ``"double"``; that of the file by default), ``returnEnergyType`` (``"energy"``, or
        ``"interaction_energy"`` without the reference energies of the atoms), ``relative`` (True:
        energies relative to lone atoms, see :func:`idle_md.load`), and ``backend``, ``kernels``,
        ``neighbors``, ``charge`` and ``multiplicity`` of
        :func:`idle_md.engines.openmm.create_force`.

    Raises
    ------
    ValueError
        If an option is unknown.
    """

    def __init__(self, options: dict[str, Any]) -> None:
        _check(options)
        self.options = options

    def getMLLongRange(self) -> bool:  # noqa: N802
        """Return that nothing acts beyond the receptive field."""
        return False

    def getSupportedEmbeddings(self) -> list[str]:  # noqa: N802
        """Return that mechanical embedding is done here, for openmm-ml 1.8 and later."""
        return ["mechanical"]

    def createMixedSystem(  # noqa: N802
        self,
        topology: app.Topology,
        system: openmm.System,
        atoms: Iterable[int],
        forceGroup: int,
        interpolate: bool,
        embedding: str,
        returnInfo: bool = False,
        **options: Any,
    ) -> openmm.System:
        """Return what :func:`idle_md.engines.openmm.create_mixed_system` does.

        openmm-ml 1.8 and later call it, and take constraints away themselves, or do not.
        """
        from idle_md.engines.openmm.mixing import create_mixed_system

        model, own = self._model(options)
        return create_mixed_system(
            model,
            topology,
            system,
            atoms,
            interpolate=interpolate,
            remove_constraints=interpolate,  # an error where there are any
            force_group=forceGroup,
            **own,
        )

    def addForces(  # noqa: N802
        self,
        topology: app.Topology,
        system: openmm.System,
        atoms: Iterable[int] | None,
        forceGroup: int,
        **options: Any,
    ) -> None:
        """Add the force of the model to a System, see :class:`Potential` for the options.

        Raises
        ------
        ValueError
            If an option is unknown or missing, the model cannot describe the atoms, or a System is
            to be mixed that :func:`idle_md.engines.openmm.create_mixed_system` refuses, or by
            interpolation: openmm-ml 1.7 does not hand over the System that it begins with.
        """
        from idle_md.engines.openmm.force import create_force
        from idle_md.engines.openmm.mixing import complete_mixed_system

        model, own = self._model(options)
        periodic = topology.getPeriodicBoxVectors() is not None
        if atoms is not None:
            if system.getNumParticles() == 0:
                raise ValueError(
                    "openmm-ml before 1.8 does not interpolate from the System that it is given: "
                    "its lambda 0 lacks constraints, custom nonbonded forces and cutoffs; use "
                    "idle_md.engines.openmm.create_mixed_system(model, topology, system, atoms, "
                    "interpolate=True), or install openmmml 1.8"
                )
            part = complete_mixed_system(topology, system, atoms)
            periodic = bool(system.usesPeriodicBoundaryConditions())
            atoms, own = part.atoms, {"charge": part.charge, **own}
        force = create_force(model, topology, atoms, periodic=periodic, **own)
        force.setForceGroup(forceGroup)
        system.addForce(force)

    def _model(self, options: dict[str, Any]) -> tuple["DeployedModel", dict[str, Any]]:
        """Return the model of the options, and those of them that a force takes."""
        import torch

        from idle_md.deploy import load

        _check(options)
        chosen = {**self.options, **options}
        if "modelPath" not in chosen:
            raise ValueError("which model? MLPotential('idle-md', modelPath='model.pt')")
        precision = _named(PRECISIONS, "precision", chosen.get("precision"))
        model = load(
            chosen["modelPath"],
            device=chosen.get("device", "cpu"),
            dtype=None if precision is None else getattr(torch, precision),
            kernels=chosen.get("kernels", "auto"),
            relative=chosen.get("relative", False),
        )
        own = {key: chosen[key] for key in FORCE_OPTIONS if key in chosen}
        energy = _named(ENERGIES, "returnEnergyType", chosen.get("returnEnergyType"))
        return model, own | {"energy": energy or "total"}


def _check(options: dict[str, Any]) -> None:
    unknown = sorted(set(options) - set(OPTIONS))
    if unknown:
        raise ValueError(f"unknown option {unknown[0]!r}: there are {', '.join(OPTIONS)}")


def _named(values: dict[str, str], option: str, value: Any) -> Any:
    if value is not None and value not in values:
        raise ValueError(f"unknown {option} {value!r}: there are {', '.join(values)}")
    return None if value is None else values[value]

"""The engines that there are, those of other packages among them."""

from collections.abc import Sequence
from importlib.metadata import entry_points
from importlib.util import find_spec

from idle_md.engines.engine import Absent, Engine

GROUP = "idle_md.engines"
"""Entry points of this group name what makes an engine, see :class:`Engine`."""


def engines(ranks: Sequence[int] = (1,), device: str = "cpu") -> list[Engine]:
    """Return all engines, those that cannot run here included: they say why.

    Parameters
    ----------
    ranks
        MPI ranks on which LAMMPS runs.
    device
        Where they run models, see :func:`idle_md.deploy.load`; those of other packages where they
        choose.
    """
    found = [*_in_python(device), *_openmm(device), *_lammps(ranks, device), *_torch_sim(device)]
    return [*found, *(point.load()() for point in entry_points(group=GROUP))]


def _in_python(device: str) -> list[Engine]:
    from idle_md.engines.ase import AseEngine
    from idle_md.engines.predict import PredictEngine

    return [
        AseEngine("portable", device),
        PredictEngine("portable", device),
        AseEngine("native", device),
        PredictEngine("native", device),
    ]


def _openmm(device: str) -> list[Engine]:
    if find_spec("openmm") is None:
        return [Absent("OpenMM", "openmm")]
    from idle_md.engines.openmm.engine import BACKENDS, OpenMMEngine

    return [OpenMMEngine(backend, device) for backend in BACKENDS]


def _lammps(ranks: Sequence[int], device: str) -> list[Engine]:
    from idle_md.engines.lammps.engine import MODES, LammpsEngine

    return [LammpsEngine(mode, count, device) for mode in MODES for count in ranks]


def _torch_sim(device: str) -> list[Engine]:
    if find_spec("torch_sim") is None:
        return [Absent("torch-sim", "torchsim")]
    from idle_md.engines.torch_sim import TorchSimEngine

    return [TorchSimEngine(device)]

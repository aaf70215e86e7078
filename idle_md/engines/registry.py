"""The engines that there are, those of other packages among them."""

from collections.abc import Sequence
from importlib.metadata import entry_points
from importlib.util import find_spec

from idle_md.engines.engine import Absent, Engine

GROUP = "idle_md.engines"
"""Entry points of this group name what makes an engine, see :class:`Engine`."""


def engines(ranks: Sequence[int] = (1,)) -> list[Engine]:
    """Return all engines, those that cannot run here included: they say why.

    Parameters
    ----------
    ranks
        MPI ranks on which LAMMPS runs.
    """
    found = [*_in_python(), *_openmm(), *_lammps(ranks), *_torch_sim()]
    return [*found, *(point.load()() for point in entry_points(group=GROUP))]


def _in_python() -> list[Engine]:
    from idle_md.engines.ase import AseEngine
    from idle_md.engines.predict import PredictEngine

    return [
        AseEngine("portable"),
        PredictEngine("portable"),
        AseEngine("native"),
        PredictEngine("native"),
    ]


def _openmm() -> list[Engine]:
    if find_spec("openmm") is None:
        return [Absent("OpenMM", "openmm")]
    from idle_md.engines.openmm.engine import BACKENDS, OpenMMEngine

    return [OpenMMEngine(backend) for backend in BACKENDS]


def _lammps(ranks: Sequence[int]) -> list[Engine]:
    from idle_md.engines.lammps.engine import MODES, LammpsEngine

    return [LammpsEngine(mode, count) for mode in MODES for count in ranks]


def _torch_sim() -> list[Engine]:
    if find_spec("torch_sim") is None:
        return [Absent("torch-sim", "torchsim")]
    from idle_md.engines.torch_sim import TorchSimEngine

    return [TorchSimEngine()]

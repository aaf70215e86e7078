"""Multi-fidelity data: store, importers, splits, reference energies, batches."""

from importlib import import_module
from typing import TYPE_CHECKING, Any

from idle_md.data.extxyz import read_extxyz, write_extxyz
from idle_md.data.importers import import_data
from idle_md.data.joining import from_atoms, join, merge_copies
from idle_md.data.manifest import Manifest, read_manifest
from idle_md.data.reference_energies import fit_reference_energies
from idle_md.data.sources import convert, load, save, shipped
from idle_md.data.splits import draw_labels, split
from idle_md.data.store import Labels, Store
from idle_md.data.store_file import StoreWriter
from idle_md.data.summary import Summary, summarise

if TYPE_CHECKING:
    from idle_md.data.batch import Batch, GeometryTensors

_WITH_TORCH = {"Batch": "batch", "GeometryTensors": "batch"}

__all__ = [
    "Batch",
    "GeometryTensors",
    "Labels",
    "Manifest",
    "Store",
    "StoreWriter",
    "Summary",
    "convert",
    "draw_labels",
    "fit_reference_energies",
    "from_atoms",
    "import_data",
    "join",
    "load",
    "merge_copies",
    "read_extxyz",
    "read_manifest",
    "save",
    "shipped",
    "split",
    "summarise",
    "write_extxyz",
]


def __getattr__(name: str) -> Any:
    """Import what needs torch only when it is asked for."""
    if name in _WITH_TORCH:
        return getattr(import_module(f"idle_md.data.{_WITH_TORCH[name]}"), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")

"""Multi-fidelity data: store, importers, splits, reference energies, batches."""

from idle_md.data.batch import Batch, GeometryTensors
from idle_md.data.extxyz import read_extxyz, write_extxyz
from idle_md.data.manifest import Manifest, read_manifest
from idle_md.data.reference_energies import fit_reference_energies
from idle_md.data.sources import convert, load, save, shipped
from idle_md.data.splits import draw_labels, split
from idle_md.data.store import Labels, Store
from idle_md.data.summary import Summary, summarise

__all__ = [
    "Batch",
    "GeometryTensors",
    "Labels",
    "Manifest",
    "Store",
    "Summary",
    "convert",
    "draw_labels",
    "fit_reference_energies",
    "load",
    "read_extxyz",
    "read_manifest",
    "save",
    "shipped",
    "split",
    "summarise",
    "write_extxyz",
]

"""Which way of finding edges is taken for a model."""

import logging
from typing import Literal, get_args

import torch
from torch import Tensor

from idle_md.deploy import DeployedModel
from idle_md.deploy.kernels import why_portable
from idle_md.engines.edges.all_pairs import AllPairs
from idle_md.engines.edges.base import SKIN, Edges
from idle_md.engines.edges.native import NativeEdges
from idle_md.engines.edges.vesin import VesinEdges
from idle_md.native.operators import load_operators
from idle_md.native.places import REMEDY

Neighbors = Literal["auto", "native", "vesin", "torch", "nnpops"]

logger = logging.getLogger(__name__)

FEW_ATOMS = {"portable": 64, "native": 128}
"""Up to this many, all pairs of an open system are taken on a GPU: fewer launches than a search."""


def edges_for(
    model: DeployedModel, atoms: Tensor, periodic: bool, neighbors: Neighbors = "auto"
) -> Edges:
    """Return the edges between some particles for a model.

    Raises
    ------
    ValueError
        If there is no such way to find neighbours, or it cannot be had for this system.
    ImportError
        If it needs NNPOps and that is not there.
    """
    if neighbors not in get_args(Neighbors):
        known = ", ".join(get_args(Neighbors))
        raise ValueError(f"unknown neighbors {neighbors!r}: there are {known}")
    if neighbors == "auto":
        neighbors = _best(model, len(atoms), periodic)
    cutoff = model.metadata.cutoff_angstrom
    logger.info("neighbours are found by %s", neighbors)
    if neighbors == "native":
        if atoms.device.type != "cpu" and model.kernels != "native":
            raise ValueError(
                "neighbors 'native' on a GPU is for models on native operators: use 'vesin'"
            )
        if not load_operators():
            raise ValueError(f"neighbors 'native' needs operators that are not built: {REMEDY}")
        skin = SKIN if model.kernels == "native" else 0.0  # a graph pays for every edge
        kept = torch.classes.idle_md.NeighborList(cutoff, skin)
        return NativeEdges(kept, atoms, model.dtype)
    if neighbors == "torch":
        if periodic:
            raise ValueError("neighbors 'torch' is for systems that are not periodic: use 'vesin'")
        return AllPairs(atoms, model.dtype)
    if neighbors == "nnpops":
        from idle_md.engines.edges.nnpops import NNPOpsEdges

        return NNPOpsEdges(cutoff, atoms, model.dtype)
    return VesinEdges(cutoff, atoms, model.dtype)


def takes_all_pairs(model: DeployedModel, n_atoms: int, periodic: bool) -> bool:
    """Return whether all pairs of a system are better than a search for those within the cutoff."""
    return model.device.type != "cpu" and not periodic and n_atoms <= FEW_ATOMS[model.kernels]


def _best(model: DeployedModel, n_atoms: int, periodic: bool) -> Neighbors:
    """Return the fastest way; a graph that was chosen to be portable stays so."""
    if model.kernels == "native":
        return "native"
    if model.device.type != "cpu":
        return "torch" if takes_all_pairs(model, n_atoms, periodic) else "vesin"
    is_choice = why_portable(model.metadata, model.device) is None
    return "vesin" if is_choice or not load_operators() else "native"

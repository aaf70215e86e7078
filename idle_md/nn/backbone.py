"""What a backbone is: a third party's class derives from this one and runs in every engine."""

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from typing import Any, ClassVar, Literal

import torch
from torch import Tensor, nn

from idle_md.configuration import Positive, Section
from idle_md.nn.autograd import AutogradGradient
from idle_md.nn.reverse import readout


class BackboneSection(Section):
    """A backbone's section of the configuration: its name and sizes, with their defaults.

    Attributes
    ----------
    name
        What configurations, checkpoints and model files call the backbone, such as
        ``name: Literal["painn"] = "painn"``.
    cutoff
        Cutoff in angstrom.
    head_hidden
        Width of the heads' hidden layer where none is asked for; 0 for linear heads.
    compiles
        Whether ``compile: true`` can compile it for training.
    algorithm
        Optimiser that trains it best, of those of the configuration's ``optimizer`` section.
    """

    head_hidden: ClassVar[int] = 32
    compiles: ClassVar[bool] = False
    algorithm: ClassVar[Literal["muon", "adamw"]] = "adamw"
    name: str
    cutoff: Positive = 5.0


class Backbone(nn.Module, ABC):
    """Features of atoms from their surroundings, for heads to read energies from.

    ============ ======= ======== ==========================================================
    tensor       shape   unit     meaning
    ============ ======= ======== ==========================================================
    species      (N,)    -        atomic numbers, int64
    edge_index   (2, E)  -        centre and neighbour of every edge, int64, sorted by centre
    edge_vectors (E, 3)  angstrom ``r_neighbour - r_centre + shift``
    features     (N, F)  -        what the heads read
    ============ ======= ======== ==========================================================

    Any directed set of edges is legal, see :mod:`idle_md.edge_contract`; edges that are not
    shorter than the cutoff contribute exactly nothing, and what an edge contributes is twice
    continuously differentiable there. A subclass names its :attr:`Config`, sets
    ``out_features``, has a constructor of the same two arguments, and writes :meth:`forward` in
    what TorchScript compiles, unless it overrides :meth:`gradient`.

    Parameters
    ----------
    elements
        Atomic numbers the model knows, in any order.
    config
        Its sizes.

    Attributes
    ----------
    elements
        The same numbers in ascending order.
    element_index
        Position of an atomic number in ``elements``, for embeddings; int64, as long as the
        largest number.
    cutoff
        Cutoff in angstrom.
    interactions
        Number of message-passing steps; the receptive field is ``interactions * cutoff``.
    out_features
        Width F of the features.

    Raises
    ------
    ValueError
        For an empty element list.
    """

    __jit_unused_properties__: ClassVar = ["hyperparameters"]
    Config: ClassVar[type[BackboneSection]]
    """Its sizes and their defaults."""
    out_features: int

    def __init__(self, elements: Sequence[int], config: BackboneSection) -> None:
        super().__init__()
        if not elements:
            raise ValueError(f"{type(self).__name__} needs at least one element")
        self.config = config
        self.elements = sorted(int(z) for z in elements)
        self.cutoff = config.cutoff
        self.interactions = 1
        lookup = torch.full((max(self.elements) + 1,), -1, dtype=torch.long)
        lookup[self.elements] = torch.arange(len(self.elements))
        self.register_buffer("element_index", lookup, persistent=False)
        self.element_index: Tensor

    @abstractmethod
    def forward(self, species: Tensor, edge_index: Tensor, edge_vectors: Tensor) -> Tensor:
        """Return the features (N, F) of every atom; the table above says of what."""

    def gradient(self, hidden: nn.Linear | None, output: nn.Linear) -> nn.Module:
        """Return the module ``(species, edge_index, edge_vectors, n_owned) -> (energies (N,),
        gradients (E, 3))`` in eV and eV/angstrom that is deployed.

        The gradients are those of the sum of the first ``n_owned`` energies. They come by autograd
        unless a subclass overrides this by a pass that is derived by hand and has no autograd in
        it, which is faster.

        Parameters
        ----------
        hidden, output
            The head, ``E_i = output([z_i, silu(hidden(z_i))])``, or without ``hidden``,
            ``output(z_i)``. The bias of ``output`` is left to the caller, who adds it to the
            reference energies.
        """
        return AutogradGradient(self, readout(hidden, output))

    def expected_changes(self) -> Mapping[str, Sequence[float]]:
        """Return how far weights may move from one level of theory to another, if that is known.

        By the name of a parameter of this backbone, or ``head.hidden.weight``, ``head.hidden.bias``
        and ``head.output.weight``: relative to the root of its mean square, up to a common factor;
        several numbers are those of as many equal blocks of rows. The closed form of ``adapt``
        expects changes in these proportions. All parameters are in it, or none: then the labels
        decide how much every parameter group changes.
        """
        return {}

    @property
    def hyperparameters(self) -> dict[str, Any]:
        """Name, elements and sizes as plain values, from which it can be built again."""
        sizes = self.config.model_dump(mode="json")
        return {"name": sizes.pop("name"), "elements": self.elements, **sizes}


def edge_geometry(edge_vectors: Tensor) -> tuple[Tensor, Tensor]:
    """Return lengths (E,) in angstrom and unit vectors (E, 3) of edge vectors (E, 3)."""
    distance = edge_vectors.square().sum(1).sqrt()
    return distance, edge_vectors / distance[:, None]

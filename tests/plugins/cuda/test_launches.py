"""A step from an engine's positions to its forces as on a GPU: its numbers and its launches."""

from collections.abc import Iterator
from contextlib import contextmanager

import numpy as np
import pytest
import torch
from torch import Tensor, nn
from torch.utils._python_dispatch import TorchDispatchMode

from idle_md.deploy import DeployedModel, load
from idle_md.deploy.core import DeployedCore
from idle_md.engines.edges.native import NativeEdges
from idle_md.engines.openmm import OpenMMModule
from idle_md.engines.openmm.module import Attachment
from tests.plugins.cuda.conftest import SHAPES, weights_of
from tests.plugins.cuda.emulated import Emulated, EmulatedList, Shape
from tests.plugins.systems import CUTOFF, ELEMENTS, apart

WITHOUT_LAUNCH = {"detach", "alias", "view", "select", "slice", "empty"}
WIDE = {"features": 128, "hidden": 64, "n_radial": 20}
NARROW = {"features": 48, "hidden": 20, "n_radial": 8}


class Launches(TorchDispatchMode):
    """Counts torch's own operations, and what emulated operators launch."""

    def __init__(self) -> None:
        super().__init__()
        self.count = 0
        self.names: list[str] = []

    def __torch_dispatch__(self, function, types, args=(), kwargs=None):
        name = function.overloadpacket.__name__
        if name not in WITHOUT_LAUNCH:
            self.count += 1
            self.names.append(name)
        return function(*args, **(kwargs or {}))

    @contextmanager
    def operator(self, emulated: Emulated) -> Iterator[None]:
        """Count an operator's launches instead of what its emulation calls."""
        before = self.count, list(self.names)
        yield
        self.count, self.names = before[0] + emulated.launches, before[1]


class EmulatedKernel(nn.Module):
    """Stands for ``torch.ops.idle_md.painn_energy_gradient``."""

    def __init__(
        self,
        emulated: Emulated,
        launches: Launches,
        weights: dict[str, Tensor],
        shape: Shape | None,
    ) -> None:
        super().__init__()
        self.emulated, self.launches, self.weights = emulated, launches, weights
        self.shape = shape

    def forward(self, species, edge_index, edge_vectors, n_owned):
        with self.launches.operator(self.emulated):
            inputs = species, edge_index, edge_vectors, n_owned
            return self.emulated.painn(self.weights, CUTOFF, True, self.shape, inputs)


class EmulatedEdges(NativeEdges):
    """Stands for the native list and ``torch.ops.idle_md.particle_forces``."""

    def __init__(
        self, emulated: Emulated, launches: Launches, atoms: Tensor, periodic: bool
    ) -> None:
        super().__init__(None, atoms, torch.float32)
        self.emulated, self.launches = emulated, launches
        self.list = EmulatedList(emulated, len(atoms), [periodic] * 3, CUTOFF, 0.5)

    def forward(self, positions, box):
        with self.launches.operator(self.emulated):
            if box is not None:
                return self.list.edges(positions, box, self.dtype, self.angstrom)
            pairs = (~torch.eye(len(self.atoms), dtype=torch.bool)).nonzero().t().contiguous()
            vectors = self.emulated.all_pairs(positions, self.atoms, self.dtype, self.angstrom)
            return pairs, vectors

    def totals(self, energies, gradients, edge_index, positions):
        units = self.kj_per_mol, self.kj_per_mol * self.angstrom
        n = len(self.atoms)
        self.launches.count += 1  # forces are zero before
        with self.launches.operator(self.emulated):
            return self.emulated.forces(
                gradients, edge_index, energies, self.atoms, len(positions), n, units, torch.float32
            )


@pytest.mark.usefixtures("ops")
@pytest.mark.parametrize(
    ("n", "periodic", "sizes", "shape", "launched"),
    [
        (21, False, WIDE, None, 22),
        (24, True, WIDE, None, 27),
        (230, True, NARROW, SHAPES["tables"], 35),  # the number does not depend on the width
    ],
    ids=["small", "periodic", "large"],
)
def test_a_step_takes_few_launches(
    emulated, model_file, n: int, periodic: bool, sizes: dict, shape: Shape | None, launched: int
) -> None:
    """Three interactions, and reference energies taken off, which is one operation more.

    At most 30 launches are meant for 21 atoms, at most 60 for a periodic list.
    """
    path = model_file(
        **sizes, interactions=3, correction=False, fidelities=("high",), dtype=torch.float32
    )
    portable = load(path, kernels="portable")
    weights = weights_of(portable.core.gradient, torch.float32)
    launches = Launches()
    kernel = EmulatedKernel(emulated, launches, weights, shape)
    core = DeployedCore(kernel, portable.core.constants)
    core.metadata = portable.core.metadata
    rng = np.random.default_rng(n)
    box = np.diag([6.5, 7.5, 0.25 * n + 2.0])
    numbers = rng.choice(ELEMENTS, n).tolist()
    attachment = Attachment(numbers, list(range(n)), periodic, energy="interaction")
    native = load(path, kernels="native")
    model = DeployedModel(core, native.metadata, native.device, torch.float32, "native")
    module = OpenMMModule(model, attachment)
    module.edges = EmulatedEdges(emulated, launches, module.edges.atoms, periodic)
    positions = torch.from_numpy(apart(rng, n, box) / 10.0).float()
    given = positions, torch.from_numpy(box / 10.0).float() if periodic else None
    with launches:
        energy, forces = module(*given)
    assert launches.count == launched, launches.names
    expected_energy, expected = OpenMMModule(native, attachment)(*given)
    assert abs(float(energy) - float(expected_energy)) <= 1e-5 * 96.5 * n
    assert float((forces - expected).abs().max()) <= 1e-5 * float(expected.abs().max())

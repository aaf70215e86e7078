"""What leads from an engine's particles to edges, and from edges to the forces on them."""

import pytest
import torch

pytestmark = pytest.mark.usefixtures("ops")

CUTOFF, NM, KJ_PER_MOL = 4.0, 10.0, 96.5
ATOMS = torch.tensor([4, 0, 7, 8, 2, 11])


def particles(seed=0, n=12):
    generator = torch.Generator().manual_seed(seed)
    positions = torch.rand(n, 3, generator=generator, dtype=torch.float64)
    box = torch.eye(3, dtype=torch.float64) + torch.tensor([[0, 0, 0], [0.1, 0, 0], [0.2, 0.3, 0]])
    return 0.8 * positions, box


def make_list():
    return torch.classes.idle_md.NeighborList(CUTOFF, 0.5)


@pytest.mark.parametrize("periodic", [False, True])
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_edges_are_those_of_the_chosen_particles_in_angstrom(periodic, dtype) -> None:
    positions, box = (each.to(dtype) for each in particles())
    cell = box.double() * NM if periodic else torch.zeros(3, 3, dtype=torch.float64)
    points = positions.double()[ATOMS] * NM
    expected = make_list().compute(points, cell, [periodic] * 3, torch.float64)
    given = box if periodic else None
    found = make_list().compute_particles(positions, given, ATOMS, NM, torch.float64)
    assert len(found[1]) > 10
    assert all(map(torch.equal, found, expected))
    strided = positions.repeat_interleave(2, 0)[::2]
    again = make_list().compute_particles(strided, given, ATOMS, NM, torch.float64)
    assert all(map(torch.equal, again, expected))


def test_list_is_kept_while_nothing_moves_far() -> None:
    positions, box = particles()
    neighbors = make_list()

    def rebuilds_after(atom, nm, box=None):
        moved = positions.clone()
        moved[atom] += torch.tensor([nm, 0.0, 0.0])
        neighbors.compute_particles(moved, box, ATOMS, NM, torch.float32)
        return neighbors.rebuilds()

    assert rebuilds_after(7, 0.0) == 1
    assert rebuilds_after(1, 1.0) == 1  # none of the atoms
    assert rebuilds_after(7, 0.0249) == 1  # half of the skin is 0.25 angstrom
    assert rebuilds_after(7, 0.0251) == 2
    assert rebuilds_after(7, 0.0251, box) == 3


@pytest.mark.parametrize("precision", [torch.float32, torch.float64])
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_totals_are_those_of_atoms_in_the_units_of_the_engine(precision, dtype) -> None:
    positions, _ = particles()
    edge_index, vectors = make_list().compute_particles(positions, None, ATOMS, NM, precision)
    energies = torch.linspace(-3.0, 4.0, len(ATOMS), dtype=torch.float64)
    forces = torch.ops.idle_md.edge_forces(vectors, edge_index, len(ATOMS))
    total, everywhere = torch.ops.idle_md.particle_forces(
        energies, vectors, edge_index, ATOMS, 12, KJ_PER_MOL, KJ_PER_MOL * NM, dtype
    )
    assert (everywhere.shape, everywhere.dtype) == ((12, 3), dtype)
    assert total.dtype == torch.float64
    assert float(total) == pytest.approx(KJ_PER_MOL * float(energies.sum()), rel=1e-14)
    assert torch.equal(everywhere[ATOMS], (forces * (KJ_PER_MOL * NM)).to(dtype))
    others = [k for k in range(12) if k not in ATOMS]
    assert not everywhere[others].any()


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"positions": particles()[0].half()}, "float32 or float64"),
        ({"positions": particles()[0][:, :2]}, r"need \(N, 3\)"),
        ({"positions": particles()[0] / 0.0}, "flown apart"),
        ({"positions": particles()[0] * 1e5}, "span .* flown apart"),
        ({"box": particles()[1][:2]}, "three lattice vectors"),
        ({"box": particles()[1].long()}, "float32 or float64"),
        ({"atoms": ATOMS + 1}, "atom 12 is not there: there are 12 particles"),
        ({"atoms": -ATOMS}, "atom -4 is not there"),
        ({"atoms": ATOMS.int()}, "must be indices"),
        ({"angstrom": 0.0}, "unit of length must be positive"),
        ({"angstrom": torch.nan}, "unit of length must be positive"),
        ({"dtype": torch.int64}, r"torch\.float32 or torch\.float64"),
    ],
)
def test_bad_particles_are_errors(change, message) -> None:
    good = {"positions": particles()[0], "box": None, "atoms": ATOMS, "angstrom": NM}
    with pytest.raises((ValueError, TypeError, RuntimeError), match=message):
        make_list().compute_particles(*({**good, "dtype": torch.float64, **change}.values()))


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"energies": torch.zeros(5)}, r"must be \(6,\)"),
        ({"energies": torch.zeros(6, dtype=torch.int64)}, "float32 or float64"),
        ({"gradients": torch.zeros(3, 2)}, r"edge_gradients must be \(3, 3\)"),
        ({"edge_index": torch.full((2, 3), 6)}, "names an atom that is not there: there are 6"),
        ({"atoms": ATOMS + 1}, "atom 12 is not there"),
        ({"particles": -1}, "cannot be -1 particles"),
        ({"dtype": torch.float16}, r"torch\.float32 or torch\.float64"),
    ],
)
def test_bad_totals_are_errors(change, message) -> None:
    good = {"energies": torch.zeros(6), "gradients": torch.zeros(3, 3)}
    good |= {"edge_index": torch.zeros(2, 3, dtype=torch.int64), "atoms": ATOMS, "particles": 12}
    good |= {"energy": 1.0, "force": 1.0, "dtype": torch.float64}
    torch.ops.idle_md.particle_forces(*good.values())
    with pytest.raises((ValueError, TypeError), match=message):
        torch.ops.idle_md.particle_forces(*{**good, **change}.values())

"""Features of a model's energy and of its derivatives, against finite differences."""

import pytest
import torch
from torch import Tensor

from idle_md.data import Batch
from idle_md.nn import Potential
from idle_md.nn.parameter_groups import SCALE_SHIFT, free_parameters, parameter_groups
from idle_md.train.closed_form.correction import Features
from idle_md.train.closed_form.tangent import WHOLE, Slope, Tangent, atomic_energies

BACKBONES = ["painn", "hipnn", "gmnn", "toy"]
SPECIES = torch.tensor([8, 1, 1, 6, 1])
N = len(SPECIES)
pytestmark = pytest.mark.usefixtures("toy_backbone")


def molecule(positions: Tensor) -> Batch:
    pairs = [(i, j) for i in range(N) for j in range(N) if i != j]
    edges = torch.tensor(pairs).T
    return Batch(
        species=SPECIES,
        positions=positions,
        edge_index=edges,
        shifts=torch.zeros(edges.shape[1], 3, dtype=torch.float64),
        graph_index=torch.zeros(N, dtype=torch.int64),
        n_graphs=1,
        energies=torch.empty(1, 0),
        forces=torch.empty(N, 0, 3),
        stresses=torch.empty(1, 0, 6),
        volumes=torch.tensor([torch.inf]),
    )


@pytest.fixture
def positions() -> Tensor:
    generator = torch.Generator().manual_seed(3)
    grid = torch.tensor([[0, 0, 0], [1, 0, 0], [0, 1, 0], [0, 0, 1.4], [1, 0, 1.4]]).double()
    return grid + 0.1 * torch.randn(N, 3, generator=generator, dtype=torch.float64)


@pytest.fixture(params=BACKBONES)
def potential(request, make_potential) -> Potential:
    return make_potential(name=request.param).alone("high")


def energy(potential: Potential, positions: Tensor) -> Tensor:
    batch = molecule(positions)
    return atomic_energies(potential, batch, batch.edge_vectors).sum()


def directions(seed: int, *shape: int) -> Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def test_features_are_derivatives_by_parameters(potential: Potential, positions: Tensor) -> None:
    tangent = Tangent(potential)
    features = tangent.features(molecule(positions))
    assert features.shape == (1, tangent.n_columns)
    step = 1e-5
    groups = parameter_groups(potential)
    first = 0
    for name in list(groups):
        if name == SCALE_SHIFT:
            continue
        direction = directions(1, sum(parameter.numel() for parameter in groups[name]))
        columns = slice(first, first + len(direction))
        first = columns.stop
        energies = []
        for sign in (1, -1):
            start = 0
            for parameter in groups[name]:
                part = direction[start : start + parameter.numel()].view_as(parameter)
                parameter.data += sign * step * part
                start += parameter.numel()
            energies.append(float(energy(potential, positions).detach()))
            start = 0
            for parameter in groups[name]:
                part = direction[start : start + parameter.numel()].view_as(parameter)
                parameter.data -= sign * step * part
                start += parameter.numel()
        slope = (energies[0] - energies[1]) / (2 * step)
        assert float(features[0, columns] @ direction) == pytest.approx(slope, rel=1e-6, abs=1e-8)


def test_features_of_derivatives_are_derivatives_of_features(
    potential: Potential, positions: Tensor
) -> None:
    tangent, moves, step = Tangent(potential), directions(2, 70, N, 3), 1e-5
    features = tangent.features(molecule(positions), moves)  # 70: more than one part
    assert features.shape == (71, tangent.n_columns)
    for number in (0, 1, 69):
        ends = [
            tangent.features(molecule(positions + sign * step * moves[number]))[0]
            for sign in (1, -1)
        ]
        expected = (ends[0] - ends[1]) / (2 * step)
        scale = float(expected.abs().max())
        torch.testing.assert_close(features[1 + number], expected, rtol=0, atol=1e-6 * scale)


def test_slope_is_linear_in_the_features(potential: Potential, positions: Tensor) -> None:
    tangent = Tangent(potential)
    direction = directions(4, tangent.n_columns)
    direction /= direction.norm()
    moves = torch.eye(3 * N, dtype=torch.float64).view(-1, N, 3)
    features = tangent.features(molecule(positions), moves)
    energies, forces, _ = Slope(potential, direction).predict(molecule(positions))
    expected = features @ direction
    size = float(expected.detach().abs().max())
    torch.testing.assert_close(energies, expected[:1], rtol=0, atol=1e-10 * size)
    torch.testing.assert_close(forces.ravel(), -expected[1:], rtol=0, atol=1e-10 * size)


def test_constants_and_other_heads_are_no_features(make_potential) -> None:
    both = make_potential()
    tangent = Tangent(both.alone("high"))
    sizes = {n: sum(p.numel() for p in g) for n, g in parameter_groups(both).items()}
    shared = sum(size for name, size in sizes.items() if name not in (SCALE_SHIFT, "readout"))
    assert shared < tangent.n_columns < shared + sizes["readout"]


def test_groups_are_scaled_alone_where_nothing_is_known_of_their_changes(make_potential) -> None:
    potential = make_potential(name="hipnn").alone("high")
    tangent = Tangent(potential)
    assert set(tangent.columns) == set(parameter_groups(potential)) - {SCALE_SHIFT}
    assert torch.equal(tangent.scales, torch.ones_like(tangent.scales))


@pytest.mark.parametrize("interactions", [1, 2, 3])
def test_scales_are_what_the_backbone_expects(make_potential, interactions: int) -> None:
    potential = make_potential(name="painn", interactions=interactions).alone("high")
    tangent, width = Tangent(potential), potential.backbone.features
    names = {id(p): name for name, p in potential.named_parameters()}
    parameters = {names[id(p)]: p for p in free_parameters(potential)}
    scales = tangent.scales.split([p.numel() for p in parameters.values()])
    found = dict(zip(parameters, scales, strict=True))
    assert list(tangent.columns) == [WHOLE]
    last = f"backbone.update.{interactions - 1}.output.weight"
    for number, change in enumerate((0.115, 0.407)):
        block = parameters[last].detach()[number * width : (number + 1) * width].double()
        one = found[last].view(parameters[last].shape)[number * width]
        torch.testing.assert_close(one, change * block.square().mean().sqrt().expand_as(one))
    if interactions > 1:
        first = parameters["backbone.update.0.output.weight"]
        assert len(found["backbone.update.0.output.weight"].unique()) == len(first) // width
    assert bool((tangent.scales > 0).all())


def test_model_is_not_changed(potential: Potential, positions: Tensor) -> None:
    before = {name: value.clone() for name, value in potential.state_dict().items()}
    tangent = Tangent(potential)
    tangent.features(molecule(positions))
    Slope(potential, directions(4, tangent.n_columns)).predict(molecule(positions))
    for name, value in potential.state_dict().items():
        assert torch.equal(value, before[name])


def test_factors_of_another_scaling_are_refused(make_potential) -> None:
    tangent = Tangent(make_potential().alone("high"))
    with pytest.raises(ValueError, match="adapt the model again"):
        Features(tangent, {"embedding": 1.0, "readout": 1.0})


@pytest.mark.parametrize("numbers", [None, [1.0, 1.0, 1.0]], ids=["missing", "other blocks"])
def test_incomplete_table_names_what_it_lacks(make_potential, monkeypatch, numbers) -> None:
    potential = make_potential().alone("high")
    table = {**potential.backbone.expected_changes(), "update.0.mix.weight": numbers}
    if numbers is None:
        del table["update.0.mix.weight"]
    monkeypatch.setattr(type(potential.backbone), "expected_changes", lambda self: table)
    with pytest.raises(ValueError, match=r"PaiNN must have a number for update\.0\.mix\.weight"):
        Tangent(potential)

"""Nothing but the target fidelity is left in a core, at the cost of a single-fidelity model."""

from dataclasses import replace

import ase
import pytest
import torch

from idle_md.deploy import DeployedModel, extract, load
from idle_md.deploy.timing import operators
from idle_md.deploy.torchscript import script
from idle_md.testing import (
    Invariants,
    OwnedAtoms,
    Subject,
    Symmetries,
    assert_close,
    isolated_energies,
    model_evaluator,
    potential_evaluator,
    random_structure,
)

SETTINGS = [
    {},
    {"interactions": 3, "correction": False, "radial": "gaussian"},
    {"hidden": 0},
    {"name": "hipnn"},
    {"name": "hipnn", "interactions": 3, "tensor_order": 1, "hidden": 4, "correction": False},
    {"name": "gmnn"},
    {"name": "gmnn", "hidden": 4, "correction": False, "layers": [8]},
]
BACKBONES = ["painn", "hipnn", "gmnn"]


def subject_of(model_file, potential, settings, dtype) -> Subject:
    model = load(model_file(**settings), dtype=dtype)
    assert model.dtype == dtype
    return Subject(
        model_evaluator(model),
        model.metadata.elements,
        model.metadata.cutoff_angstrom,
        isolated_energies(potential, "high"),
        dtype,
    )


class TestDeployedModel(Invariants):
    @pytest.fixture(scope="class", params=SETTINGS, ids=str)
    @classmethod
    def subject(cls, model_file, make_potential, request) -> Subject:
        potential = make_potential(**request.param)
        return subject_of(model_file, potential, request.param, torch.float64)


class TestParts(OwnedAtoms):
    @pytest.fixture(scope="class", params=BACKBONES)
    @classmethod
    def model(cls, model_file, request) -> DeployedModel:
        return load(model_file(name=request.param), kernels="portable")


class TestDeployedModelInFloat32(Symmetries):
    @pytest.fixture(scope="class", params=BACKBONES)
    @classmethod
    def subject(cls, model_file, make_potential, request) -> Subject:
        settings = {"dtype": torch.float32, "name": request.param}
        return subject_of(model_file, make_potential(**settings), settings, torch.float32)


@pytest.mark.parametrize("name", BACKBONES)
@pytest.mark.parametrize("correction", [True, False])
@pytest.mark.parametrize("dtype", [torch.float64, torch.float32])
def test_exported_head_is_the_head_of_the_training_model(
    model_file, make_potential, correction, dtype, name
) -> None:
    settings = {"correction": correction, "dtype": dtype, "name": name}
    potential = make_potential(**settings)
    model = load(model_file(**settings))
    references = potential.reference_energies[:, potential.column("high")]
    subject = Subject(model_evaluator(model), [1, 6, 7, 8], 4.0, dtype=dtype)
    atoms = ase.Atoms(*random_structure(subject, 12))
    shift = float(references[atoms.numbers].sum())
    [found] = subject.predict(atoms)
    [expected] = potential_evaluator(potential, "high")([atoms])
    without = [replace(each, energy=each.energy - shift) for each in (found, expected)]
    assert_close(subject, *without)


def inputs(n_atoms: int = 6):
    species = torch.tensor([1, 6, 7, 8])[torch.arange(n_atoms) % 4]
    pairs = torch.combinations(torch.arange(n_atoms)).t()
    edge_index = torch.cat([pairs, pairs.flip(0)], dim=1)
    edge_index = edge_index[:, edge_index[0].argsort(stable=True)]
    torch.manual_seed(1)
    return species, edge_index, 1.5 * torch.randn(edge_index.shape[1], 3, dtype=torch.float64)


@pytest.mark.parametrize("correction", [True, False])
def test_other_heads_leave_no_trace(make_potential, correction) -> None:
    fidelities = ("low", "other", "high")
    potential = make_potential(fidelities, correction)
    expected = extract(potential, "high")(*inputs(), 6)
    used = {"high", "low"} if correction else {"high"}
    for fidelity in set(fidelities) - used:
        for layer in (potential.heads.hidden[fidelity], potential.heads.output[fidelity]):
            torch.nn.init.normal_(layer.weight, std=9.0)
            torch.nn.init.normal_(layer.bias, std=9.0)
        potential.heads.scale[fidelity].fill_(99.0)
        potential.reference_energies[:, potential.column(fidelity)] = 99.0
    found = extract(potential, "high")(*inputs(), 6)
    assert torch.equal(found[0], expected[0])
    assert torch.equal(found[1], expected[1])


def test_names_of_other_fidelities_are_not_in_the_file(make_potential, tmp_path) -> None:
    from idle_md.deploy import describe, save

    potential = make_potential(("cheapest", "high"), correction=False)
    save(extract(potential, "high"), tmp_path / "model.pt", describe(potential, "high"))
    content = (tmp_path / "model.pt").read_bytes()
    assert b"cheapest" not in content
    assert b"high" in content


@pytest.mark.parametrize(
    ("settings", "n_tensors"),
    [
        ({"interactions": 3}, 30),
        ({"hidden": 0}, 20),
        ({"name": "hipnn", "interactions": 3}, 30),
        ({"name": "hipnn", "tensor_order": 0}, 20),
        ({"name": "gmnn"}, 10),
    ],
    ids=str,
)
def test_every_tensor_takes_part(make_potential, settings, n_tensors) -> None:
    core = script(extract(make_potential(**settings), "high"))
    names = [name for name, _ in core.named_buffers()]
    assert len(names) == len({tensor.data_ptr() for tensor in core.buffers()}) > n_tensors
    assert all(tensor.numel() for tensor in core.buffers())
    for name, tensor in core.named_buffers():
        if not tensor.is_floating_point():
            continue
        kept = tensor.clone()
        tensor.fill_(torch.nan)
        energies, gradients = core(*inputs(), 6)
        assert energies.isnan().any() or gradients.isnan().any(), f"{name} is not used"
        tensor.copy_(kept)


@pytest.mark.parametrize(
    ("settings", "widths"),
    [
        ({}, [16, 8, 1]),
        ({"hidden": 0}, [16, 1]),
        ({"name": "hipnn"}, [28, 1]),
        ({"name": "gmnn"}, [12, 1]),
        ({"name": "gmnn", "hidden": 5}, [12, 5, 1]),
    ],
    ids=str,
)
def test_graph_and_tensors_are_those_of_a_single_fidelity_model(
    model_file, settings, widths
) -> None:
    idle = load(model_file(fidelities=("low", "other", "high"), **settings), kernels="portable")
    single = load(model_file(fidelities=("high",), **settings), kernels="portable")
    assert operators(idle) == operators(single)
    assert operators(idle)["aten::mm"] > 2
    assert idle.metadata.head_widths == single.metadata.head_widths == widths
    shapes = [
        {name: (tensor.shape, tensor.dtype) for name, tensor in model.core.named_buffers()}
        for model in (idle, single)
    ]
    assert shapes[0] == shapes[1]


def test_unknown_fidelity_lists_those_there_are(make_potential) -> None:
    with pytest.raises(ValueError, match=r"unknown fidelity 'hihg': this model has low, high"):
        extract(make_potential(), "hihg")

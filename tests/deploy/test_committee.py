"""A committee gives the mean of its members, and each of them."""

import json

import numpy as np
import pytest
import torch
from typer.testing import CliRunner

from idle_md.cli.main import app
from idle_md.deploy import (
    DeployedModel,
    describe,
    export_checkpoint,
    extract,
    extract_committee,
    load,
    save,
)
from idle_md.deploy.torchscript import freeze, script
from idle_md.nn import PaiNN, Potential, save_checkpoint
from idle_md.testing import (
    CELL,
    Invariants,
    Members,
    OwnedAtoms,
    Subject,
    Symmetries,
    isolated_energies,
    model_evaluator,
    random_structure,
)

ELEMENTS = [1, 6, 7, 8]
MEMBERS = 3


def mean_isolated_energies(make_potential, **settings) -> dict[int, float]:
    energies = [isolated_energies(make_potential(seed=k, **settings), "high") for k in range(3)]
    return {z: float(np.mean([member[z] for member in energies])) for z in ELEMENTS}


class TestCommittee(Invariants):
    @pytest.fixture(scope="class")
    @classmethod
    def subject(cls, committee_file, make_potential) -> Subject:
        model = load(committee_file())
        isolated = mean_isolated_energies(make_potential)
        return Subject(model_evaluator(model), ELEMENTS, 4.0, isolated)


class TestMembers(Members, OwnedAtoms):
    @pytest.fixture(scope="class", params=["portable", "native"])
    @classmethod
    def model(cls, committee_file, request) -> DeployedModel:
        return load(committee_file(), kernels=request.param)


class TestCommitteeInFloat32(Symmetries):
    @pytest.fixture(scope="class")
    @classmethod
    def subject(cls, committee_file, make_potential) -> Subject:
        settings = {"dtype": torch.float32}
        model = load(committee_file(**settings))
        isolated = mean_isolated_energies(make_potential, **settings)
        return Subject(model_evaluator(model), ELEMENTS, 4.0, isolated, torch.float32)


@pytest.fixture(scope="module")
def members(model_file):
    return [load(model_file(seed=k)) for k in range(MEMBERS)]


@pytest.fixture(scope="module")
def committee(committee_file):
    return load(committee_file())


@pytest.mark.parametrize("cell", [None, CELL], ids=["molecule", "crystal"])
def test_members_are_the_models_that_are_exported_alone(members, committee, cell) -> None:
    numbers, positions = random_structure(Subject(None, ELEMENTS, 4.0), 9)
    system = numbers, positions, cell, cell is not None
    alone = [member.evaluate(*system) for member in members]
    energies, forces = committee.evaluate_members(*system)
    assert (energies.shape, forces.shape) == ((MEMBERS,), (MEMBERS, 9, 3))
    np.testing.assert_allclose(energies, [energy for energy, _ in alone], rtol=0.0, atol=1e-9)
    np.testing.assert_allclose(forces, [force for _, force in alone], rtol=0.0, atol=1e-9)
    energy, force = committee.evaluate(*system)
    assert energy == pytest.approx(np.mean([energy for energy, _ in alone]), abs=1e-9)
    np.testing.assert_allclose(force, np.mean([f for _, f in alone], 0), rtol=0.0, atol=1e-9)
    assert forces.std(0, ddof=1).max() > 1e-2


@pytest.mark.parametrize("n_owned", [0, 3, 7])
def test_core_follows_the_edge_contract(make_potential, n_owned) -> None:
    generator = torch.Generator().manual_seed(0)
    species = torch.tensor(ELEMENTS)[torch.arange(7) % 4]
    edge_index = torch.randint(7, (2, 40), generator=generator)
    edge_index[0] = edge_index[0].sort().values
    vectors = 2.5 * torch.randn(40, 3, generator=generator, dtype=torch.float64)
    edges = species, edge_index, vectors
    potentials = [make_potential(seed=k) for k in range(MEMBERS)]
    alone = [extract(potential, "high")(*edges, n_owned) for potential in potentials]
    core = script(extract_committee(potentials, "high"))
    energies, gradients = core.members(*edges, n_owned)
    assert (energies.shape, energies.dtype) == ((7, MEMBERS), torch.float64)
    expected = torch.stack([energy for energy, _ in alone], 1)
    torch.testing.assert_close(energies[:n_owned], expected[:n_owned], rtol=0.0, atol=1e-12)
    expected_gradients = torch.stack([gradient for _, gradient in alone])
    torch.testing.assert_close(gradients, expected_gradients, rtol=0.0, atol=1e-12)
    beyond = vectors.norm(dim=1) >= 4.0
    assert 3 < int(beyond.sum()) < 37
    assert not gradients[:, beyond].any()
    mean, mean_gradient = core(*edges, n_owned)
    torch.testing.assert_close(mean[:n_owned], expected[:n_owned].mean(1), rtol=0.0, atol=1e-11)
    torch.testing.assert_close(mean_gradient, gradients.mean(0), rtol=0.0, atol=1e-12)
    assert not mean_gradient.requires_grad
    frozen = freeze(core)(*edges, n_owned)
    torch.testing.assert_close(frozen[1], mean_gradient, rtol=0.0, atol=1e-12)


def test_every_tensor_of_every_member_takes_part(make_potential) -> None:
    potentials = [make_potential(seed=k) for k in range(2)]
    core = script(extract_committee(potentials, "high"))
    alone = script(extract(potentials[0], "high"))
    names = [name for name, _ in core.named_buffers()]
    assert len(names) == 2 * len(list(alone.buffers())) - 1  # constants are one table
    edges = torch.tensor([[0, 1], [1, 0]]), torch.tensor([[1.0, 0, 0], [-1, 0, 0]]).double()
    for name, tensor in core.named_buffers():
        kept = tensor.clone()
        tensor.fill_(torch.nan)
        energies, gradients = core(torch.tensor([6, 8]), *edges, 2)
        assert energies.isnan().any() or gradients.isnan().any(), f"{name} is not used"
        tensor.copy_(kept)


@pytest.mark.parametrize("wanted", [torch.float32, torch.float64])
def test_precision_can_be_chosen(committee_file, committee, wanted) -> None:
    cast = load(committee_file(), dtype=wanted)
    assert (cast.dtype, cast.core.constants.dtype) == (wanted, torch.float64)
    numbers, positions = random_structure(Subject(None, ELEMENTS, 4.0), 9)
    energy, forces = committee.evaluate(numbers, positions)
    found, found_forces = cast.evaluate(numbers, positions)
    assert abs(found - energy) < 1e-5 * 9
    np.testing.assert_allclose(found_forces, forces, atol=1e-5 * np.abs(forces).max())


def test_metadata_are_those_of_all_members(committee, members) -> None:
    about = committee.metadata
    assert (about.members, members[0].metadata.members) == (3, 1)
    for z in ELEMENTS:
        references = [member.metadata.reference_energies_ev[z] for member in members]
        assert about.reference_energies_ev[z] == pytest.approx(np.mean(references), abs=1e-10)
    own = {"members", "reference_energies_ev", "content_sha256"}
    assert about.model_dump(exclude=own) == members[0].metadata.model_dump(exclude=own)


def test_single_model_has_no_members(members) -> None:
    with pytest.raises(ValueError, match=r"no committee, so it has no spread: .*`ensemble: 4`"):
        members[0].evaluate_members([8], np.zeros((1, 3)))


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"cutoff": 5.0}, r"member 1 has cutoff 5\.0, but member 0 has 4\.0"),
        ({"dtype": torch.float32}, "member 1 has precision float32, but member 0 has float64"),
        ({"features": 32}, "member 1 has features 32, but member 0 has 16"),
        (
            {"fidelities": ("low",), "correction": False},
            "member 1 has no fidelity 'high': it has low",
        ),
    ],
)
def test_members_that_do_not_fit_are_named(make_potential, change, message) -> None:
    with pytest.raises(ValueError, match=message):
        extract_committee([make_potential(), make_potential(**change)], "high")


def test_other_elements_are_refused(make_potential) -> None:
    settings = {"features": 16, "interactions": 2, "cutoff": 4.0, "n_radial": 8}
    other = Potential(PaiNN([1, 8], PaiNN.Config(**settings)), ["high"], 8).to_precision(
        torch.float64
    )
    message = r"b has elements \[1, 8\], but a has \[1, 6, 7, 8\]: .* in their weights alone"
    with pytest.raises(ValueError, match=message):
        extract_committee([make_potential(), other], "high", ["a", "b"])


def test_one_potential_is_no_committee(make_potential) -> None:
    with pytest.raises(ValueError, match="two or more members"):
        extract_committee([make_potential()], "high")


LEVEL = {"method": "wB97X", "basis": "6-31G*"}
COUNTS = {"high": {"train": {"energy": 90, "forces": 0}}}
ERRORS = {"energy_mae_mev": 1.5, "n_energies": 7}


@pytest.fixture
def run(make_potential, tmp_path):
    """A run folder of twelve members, as training leaves it."""
    for k in range(12):
        folder = tmp_path / "run" / f"member-{k}"
        folder.mkdir(parents=True)
        metadata = {"target": "high", "levels": {"high": LEVEL}, "label_counts": COUNTS}
        save_checkpoint(folder / "best.ckpt", make_potential(seed=k), metadata)
        own = {"test": {"high": {**ERRORS, "energy_mae_mev": 9.0}}}
        (folder / "metrics.json").write_text(json.dumps(own))
    metrics = {"test": {"high": ERRORS}, "members": []}
    (tmp_path / "run" / "metrics.json").write_text(json.dumps(metrics))
    return tmp_path / "run"


def invoke(*arguments):
    return CliRunner().invoke(app, [str(argument) for argument in arguments])


def test_run_folder_is_exported_as_a_whole(run, make_potential, tmp_path) -> None:
    result = invoke("export", run, "-o", tmp_path / "model.pt")
    assert result.exit_code == 0, result.output
    assert "high (wB97X/6-31G*), cutoff 4 Å, committee of 12" in result.output
    model = load(tmp_path / "model.pt")
    assert model.metadata.members == 12
    assert model.metadata.test_errors == {"test": ERRORS}
    assert model.metadata.label_counts == COUNTS
    numbers, positions = random_structure(Subject(None, ELEMENTS, 4.0), 5)
    last = make_potential(seed=11)
    save(extract(last, "high"), tmp_path / "last.pt", describe(last, "high"))
    expected, _ = load(tmp_path / "last.pt").evaluate(numbers, positions)
    energies, _ = model.evaluate_members(numbers, positions)
    assert energies[11] == pytest.approx(expected, abs=1e-9)  # not sorted by name
    rows = invoke("info", tmp_path / "model.pt").output.splitlines()
    assert any(row.split() == ["members", "12,", "a", "committee"] for row in rows)


def test_chosen_checkpoints_make_a_committee(run, tmp_path) -> None:
    chosen = [run / f"member-{k}" / "best.ckpt" for k in (0, 3)]
    result = invoke("export", *chosen, "--fidelity", "low", "-o", tmp_path / "model.pt")
    assert result.exit_code == 0, result.output
    metadata = load(tmp_path / "model.pt").metadata
    assert (metadata.members, metadata.fidelity) == (2, "low")
    assert metadata.level_of_theory is None
    assert metadata.test_errors == {}  # those of the run are of all its members


def test_all_checkpoints_of_a_run_are_the_run(run, tmp_path) -> None:
    every = list(run.glob("member-*/best.ckpt"))
    metadata = export_checkpoint(every, None, tmp_path / "model.pt")
    assert metadata.test_errors == {"test": ERRORS}


def test_folder_of_a_single_run_is_its_checkpoint(run, tmp_path) -> None:
    metadata = export_checkpoint(run / "member-0", None, tmp_path / "model.pt")
    assert metadata.members == 1
    assert metadata.test_errors["test"]["energy_mae_mev"] == 9.0


def test_what_members_do_not_agree_on_is_left_out(run, make_potential, tmp_path) -> None:
    other = run.parent / "other.ckpt"
    counts = {"high": {"train": {"energy": 80, "forces": 0}}}
    training = {"target": "high", "levels": {"high": LEVEL}, "label_counts": counts}
    save_checkpoint(other, make_potential(seed=20), training)
    metadata = export_checkpoint([run / "member-0", other], None, tmp_path / "model.pt")
    assert metadata.label_counts == {}
    assert metadata.level_of_theory.method == "wB97X"


def test_member_that_does_not_fit_is_named_by_its_file(run, make_potential, tmp_path) -> None:
    save_checkpoint(run / "member-3" / "best.ckpt", make_potential(cutoff=5.0), {"target": "high"})
    result = invoke("export", run, "-o", tmp_path / "model.pt")
    assert result.exit_code == 1
    message = str(result.exception)
    assert "member-3/best.ckpt has cutoff 5.0, but" in message
    assert not (tmp_path / "model.pt").exists()


def test_difference_to_a_low_level_and_the_level_itself_have_no_mean(
    run, make_potential, tmp_path
) -> None:
    training = {"target": "high", "delta_on": "low"}
    for k in (0, 1):
        save_checkpoint(tmp_path / f"{k}.ckpt", make_potential(seed=k), training)
    differences = [tmp_path / "0.ckpt", tmp_path / "1.ckpt"]
    assert export_checkpoint(differences, None, tmp_path / "model.pt").delta_on == "low"
    with pytest.raises(ValueError, match=r"0\.ckpt is the difference to low, but .*member-2"):
        export_checkpoint([run / "member-2", tmp_path / "0.ckpt"], None, tmp_path / "no.pt")


def test_unfinished_member_is_named(run, tmp_path) -> None:
    (run / "member-5" / "best.ckpt").unlink()
    with pytest.raises(FileNotFoundError, match=r"no checkpoint at .*member-5/best\.ckpt"):
        export_checkpoint(run, None, tmp_path / "model.pt")

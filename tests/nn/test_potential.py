import pytest
import torch

from idle_md.nn import Potential, load_checkpoint, save_checkpoint

SPECIES = torch.tensor([8, 1, 1])
EDGES = torch.tensor([[0, 0, 1, 2], [1, 2, 0, 0]])


def vectors(dtype: torch.dtype) -> torch.Tensor:
    bonds = torch.tensor([[0.96, 0.0, 0.0], [-0.24, 0.93, 0.0]], dtype=dtype)
    return torch.cat([bonds, -bonds])


def test_energies_contain_the_reference_energies_in_float64(make_potential) -> None:
    potential = make_potential(dtype=torch.float32)
    residual = potential.residual(SPECIES, EDGES, vectors(torch.float32))
    total = potential(SPECIES, EDGES, vectors(torch.float32))
    assert total.dtype == torch.float64
    torch.testing.assert_close(
        total - potential.reference_energies[SPECIES], residual.double(), rtol=0.0, atol=1e-12
    )


def test_unknown_fidelity_lists_those_there_are(make_potential) -> None:
    with pytest.raises(ValueError, match=r"unknown fidelity 'hgih': this model has low, high"):
        make_potential().column("hgih")


def test_unknown_backbone_lists_those_there_are(make_potential) -> None:
    settings = make_potential().hyperparameters
    settings["backbone"]["name"] = "pain"
    with pytest.raises(ValueError, match=r"unknown backbone 'pain', did you mean 'painn'.*gmnn"):
        Potential.from_hyperparameters(settings)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_checkpoint_gives_the_same_potential_back(make_potential, tmp_path, dtype) -> None:
    potential = make_potential(dtype=dtype)
    save_checkpoint(tmp_path / "best.ckpt", potential, {"target": "high"})
    read, metadata = load_checkpoint(tmp_path / "best.ckpt")
    assert metadata == {"target": "high"}
    inputs = (SPECIES, EDGES, vectors(dtype))
    torch.testing.assert_close(read(*inputs), potential(*inputs), rtol=0.0, atol=0.0)
    assert [path.name for path in tmp_path.iterdir()] == ["best.ckpt"]


def test_missing_checkpoint_is_named(tmp_path) -> None:
    with pytest.raises(FileNotFoundError, match=r"no checkpoint at .*absent\.ckpt"):
        load_checkpoint(tmp_path / "absent.ckpt")


def test_truncated_checkpoint_is_named(make_potential, tmp_path) -> None:
    path = tmp_path / "best.ckpt"
    save_checkpoint(path, make_potential(), {})
    path.write_bytes(path.read_bytes()[:-200])
    with pytest.raises(ValueError, match=r"best\.ckpt is not a readable checkpoint"):
        load_checkpoint(path)


def test_foreign_file_is_named(tmp_path) -> None:
    torch.save({"state_dict": {}}, tmp_path / "other.ckpt")
    with pytest.raises(ValueError, match=r"other\.ckpt is not an idle_md checkpoint"):
        load_checkpoint(tmp_path / "other.ckpt")

"""NNPOps' neighbour search in the place of a list, and building it."""

import importlib
import sys

import pytest
import torch
from typer.testing import CliRunner

from idle_md import deploy
from idle_md.cli.main import app
from idle_md.deploy.torchscript import flatten, freeze, from_bytes, script, to_bytes
from idle_md.engines import doctor
from idle_md.engines.edges.native import NativeEdges
from idle_md.engines.edges.nnpops import NNPOpsEdges, default_room
from idle_md.engines.edges.vesin import VesinEdges
from idle_md.native import build, nnpops, places

CUTOFF = 4.0
ERRORS = (ValueError, RuntimeError, torch.jit.Error)
SUBSETS = {
    "all": torch.arange(30),
    "some": torch.tensor([4, 0, 27, 8, 2, 11, 29, 15, 9, 20]),
    "two": torch.tensor([7, 3]),
}


@pytest.fixture(scope="module")
def library() -> None:
    """NNPOps' operator; where it was not built the test is skipped."""
    try:
        nnpops.load_nnpops()
    except ImportError as error:
        pytest.skip(str(error))


def particles(seed: int = 0, n: int = 30):
    generator = torch.Generator().manual_seed(seed)
    positions = 1.5 * torch.rand(n, 3, generator=generator, dtype=torch.float64) - 0.2
    box = torch.tensor([[1.0, 0, 0], [0.2, 1.1, 0], [-0.4, 0.3, 0.9]], dtype=torch.float64)
    return positions, box


def native(atoms, dtype=torch.float64):
    return NativeEdges(torch.classes.idle_md.NeighborList(CUTOFF, 0.0), atoms, dtype)


def in_order(edge_index, vectors):
    order = (edge_index[0] * 1000 + edge_index[1]).argsort()
    return edge_index[:, order], vectors[order]


@pytest.mark.usefixtures("library", "ops")
@pytest.mark.parametrize("periodic", [False, True])
@pytest.mark.parametrize("subset", SUBSETS)
def test_edges_are_those_of_the_native_list(periodic, subset) -> None:
    atoms = SUBSETS[subset]
    ours = native(atoms)
    theirs = script(NNPOpsEdges(CUTOFF, atoms, torch.float64))
    n_edges = 0
    for seed in range(5):
        positions, box = particles(seed)
        given = box if periodic else None
        expected = in_order(*ours(positions, given))
        found = theirs(positions, given)
        assert bool((found[0][0].diff() >= 0).all())
        assert torch.equal(in_order(*found)[0], expected[0])
        torch.testing.assert_close(in_order(*found)[1], expected[1], rtol=0, atol=1e-10)
        n_edges += len(expected[1])
    assert subset == "two" or n_edges > 20


@pytest.mark.usefixtures("library", "ops")
@pytest.mark.parametrize("is_fixed", [False, True])
@pytest.mark.parametrize("periodic", [False, True])
def test_energies_and_forces_are_those_with_the_native_list(model_file, periodic, is_fixed) -> None:
    model = deploy.load(model_file(), kernels="portable")
    atoms = SUBSETS["some"]
    positions, box = particles(1)
    given = box if periodic else None
    species = torch.tensor([1, 6, 7, 8])[atoms % 4]
    theirs = NNPOpsEdges(CUTOFF, atoms, torch.float64)
    theirs.is_fixed = is_fixed  # as on a GPU
    results = []
    for edges in (native(atoms), script(theirs)):
        edge_index, vectors = edges(positions, given)
        energies, gradients = model.core(species, edge_index, vectors, len(atoms))
        results.append(edges.totals(energies, gradients, edge_index, positions))
    (energy, forces), (found_energy, found_forces) = results
    assert float(found_energy) == pytest.approx(float(energy), rel=0, abs=1e-8)
    assert float(forces.abs().max()) > 1.0
    torch.testing.assert_close(found_forces, forces, rtol=1e-10, atol=1e-8)


@pytest.mark.usefixtures("library")
@pytest.mark.parametrize("is_fixed", [False, True])
@pytest.mark.parametrize("make", [script, lambda module: flatten(module, ["totals"])])
def test_it_can_be_frozen_saved_and_loaded(make, is_fixed) -> None:
    edges = NNPOpsEdges(CUTOFF, SUBSETS["some"], torch.float32).eval()
    edges.is_fixed = is_fixed
    positions, box = particles()
    copy = from_bytes(to_bytes(freeze(make(edges)) if make is script else make(edges)))
    for given in (None, box):
        assert all(map(torch.equal, copy(positions, given), edges(positions, given)))
    assert copy(positions, box)[1].dtype == torch.float32


@pytest.mark.usefixtures("library")
def test_too_many_pairs_are_an_error() -> None:
    atoms = torch.arange(200)
    positions = 0.3 * particles(n=200)[0]
    every = 200 * 199 // 2
    for make in (script, lambda module: flatten(module.eval(), [])):
        edges = make(NNPOpsEdges(2 * CUTOFF, atoms, torch.float64, 50))
        with pytest.raises(ERRORS, match=rf"{every} pairs .* room for 50: .*max_pairs"):
            edges(positions, None)
    with pytest.raises(ERRORS, match=f"room for {every - 1}"):
        NNPOpsEdges(2 * CUTOFF, atoms, torch.float64, every - 1)(positions, None)
    edge_index, _ = NNPOpsEdges(2 * CUTOFF, atoms, torch.float64, every)(positions, None)
    assert edge_index.shape == (2, 2 * every)


@pytest.mark.usefixtures("library")
def test_without_waiting_what_is_wrong_becomes_not_a_number() -> None:
    atoms = SUBSETS["some"]
    positions, box = particles()

    def total(max_pairs, positions=positions, box=box):
        edges = NNPOpsEdges(CUTOFF, atoms, torch.float64, max_pairs)
        edges.is_fixed = True
        edge_index, vectors = script(edges)(positions, box)
        assert edge_index.shape == (2, 2 * max_pairs + 2)
        assert bool((edge_index[0].diff() >= 0).all())
        assert 0 <= int(edge_index.min()) <= int(edge_index.max()) < len(atoms)
        gradients = torch.ones_like(vectors)
        return edges.totals(torch.ones(len(atoms)), gradients, edge_index, positions)

    waiting = NNPOpsEdges(CUTOFF, atoms, torch.float64)
    n_pairs = waiting(positions, box)[0].shape[1] // 2
    for max_pairs in (n_pairs, n_pairs + 1, 2 * n_pairs):
        assert all(bool(each.isfinite().all()) for each in total(max_pairs))
    for change in (
        {"max_pairs": n_pairs - 1},
        {"max_pairs": 1},
        {"max_pairs": n_pairs, "positions": positions.clone().index_fill_(0, atoms[:1], torch.nan)},
    ):
        assert all(bool(each.isnan().all()) for each in total(**change))


@pytest.mark.usefixtures("library")
@pytest.mark.parametrize(
    "change",
    [
        torch.diag(torch.tensor([0.79 / 1.0, 1.0, 1.0])),
        torch.tensor([[1.0, 0, 0], [0.6, 1, 0], [0, 0, 1]]),
        torch.tensor([[1.0, 0, 0], [-0.8, 1, 0], [0, 0, 1]]),
        torch.tensor([[1.0, 0.1, 0], [0, 1, 0], [0, 0, 1]]),
    ],
)
def test_boxes_it_is_not_for_are_errors(change) -> None:
    positions, _ = particles()
    edges = NNPOpsEdges(CUTOFF, SUBSETS["some"], torch.float64)
    edges(positions, torch.eye(3))
    with pytest.raises(ERRORS, match=r"two cutoffs, 8\.0 angstrom.*'native'"):
        edges(positions, change)


@pytest.mark.usefixtures("library")
@pytest.mark.parametrize("periodic", [False, True])
def test_positions_that_are_not_finite_are_errors(periodic) -> None:
    positions, box = particles()
    positions[SUBSETS["some"][0], 1] = torch.nan
    with pytest.raises(ERRORS, match="flown apart"):
        script(NNPOpsEdges(CUTOFF, SUBSETS["some"], torch.float64))(
            positions, box if periodic else None
        )


@pytest.mark.usefixtures("library")
@pytest.mark.parametrize("n", [0, 1, 23171])
def test_numbers_of_atoms_it_is_not_for_are_errors(n) -> None:
    with pytest.raises(ValueError, match="2 to 23170 atoms"):
        NNPOpsEdges(CUTOFF, torch.arange(n), torch.float64)
    with pytest.raises(ValueError, match="max_pairs must be positive"):
        NNPOpsEdges(CUTOFF, torch.arange(5), torch.float64, 0)


@pytest.mark.usefixtures("library")
def test_edges_on_a_gpu_are_those_on_the_cpu() -> None:
    if not torch.cuda.is_available():
        pytest.skip("there is no GPU")
    if not torch._C._dispatch_has_kernel_for_dispatch_key(
        "neighbors::getNeighborPairs", "AutogradCUDA"
    ):
        pytest.skip("NNPOps was built without CUDA")
    atoms = SUBSETS["some"]
    positions, box = particles()
    expected = VesinEdges(CUTOFF, atoms, torch.float64)(positions, box)
    edges = NNPOpsEdges(CUTOFF, atoms.cuda(), torch.float64)
    found, vectors = (each.cpu() for each in edges(positions.cuda(), box.cuda()))
    real = found[0] != found[1]
    assert torch.equal(in_order(found[:, real], vectors[real])[0], in_order(*expected)[0])
    full = NNPOpsEdges(CUTOFF, atoms.cuda(), torch.float64, 3)
    edge_index, vectors = full(positions.cuda(), box.cuda())
    energies = torch.ones(len(atoms), device="cuda")
    assert bool(full.totals(energies, vectors, edge_index, positions.cuda())[0].isnan())


def test_there_is_room_for_what_is_as_dense_as_water() -> None:
    assert default_room(20, 5.0) == 190
    assert default_room(100, 5.0) == 4950
    n = 3000
    in_water = 0.1 * 4 / 3 * torch.pi * 5.0**3 * n / 2
    assert 1.4 * in_water < default_room(n, 5.0) < 1.6 * in_water


def test_where_it_is_not_the_remedy_is_named(monkeypatch, tmp_path) -> None:
    monkeypatch.setattr(nnpops, "_is_loaded", lambda: False)
    monkeypatch.setattr(nnpops, "find_nnpops", lambda: None)
    with pytest.raises(ImportError, match=r"build-plugins --nnpops --source.*conda-forge nnpops"):
        nnpops.load_nnpops()
    broken = tmp_path / "broken.so"
    broken.write_text("no library")
    monkeypatch.setattr(nnpops, "find_nnpops", lambda: broken)
    with pytest.raises(ImportError, match=r"broken\.so cannot be loaded.*build-plugins --nnpops"):
        nnpops.load_nnpops()


def test_library_is_looked_for_in_order(monkeypatch, tmp_path) -> None:
    built, package = tmp_path / "built" / places.NNPOPS, tmp_path / "site" / "NNPOps"
    monkeypatch.delenv(nnpops.VARIABLE, raising=False)
    monkeypatch.setattr(places, "folders", lambda: [built.parent])
    monkeypatch.setattr(sys, "path", [*sys.path, str(package.parent)])
    assert nnpops.find_nnpops() is None
    package.mkdir(parents=True)
    (package / "__init__.py").write_text("raise RuntimeError('it was imported')")
    (package / "libNNPOpsPyTorch.so").touch()
    importlib.invalidate_caches()
    assert nnpops.find_nnpops() == package / "libNNPOpsPyTorch.so"
    built.parent.mkdir()
    built.touch()
    assert nnpops.find_nnpops() == built
    monkeypatch.setenv(nnpops.VARIABLE, "/elsewhere.so")
    assert str(nnpops.find_nnpops()) == "/elsewhere.so"


def test_building_needs_a_clone(tmp_path) -> None:
    with pytest.raises(FileNotFoundError, match=r"no clone of NNPOps.*neighbors\.cpp; `git clone"):
        build.build_nnpops(tmp_path)
    for arguments in (["--nnpops"], ["--source", str(tmp_path)], ["--ops", "--source", "a"]):
        error = CliRunner().invoke(app, ["build-plugins", *arguments]).exception
        assert isinstance(error, ValueError)
        assert "--nnpops and --source go together: `git clone" in str(error)


def test_doctor_says_that_it_is_optional(monkeypatch) -> None:
    monkeypatch.setattr(doctor, "find_nnpops", lambda: None)
    finding = next(each for each in doctor.examine() if each.what == "NNPOps")
    assert finding.state == "note"
    assert finding.remedy.startswith("optional: idle-md build-plugins --nnpops")

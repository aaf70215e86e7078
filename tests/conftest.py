import os
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from idle_md import deploy
from idle_md.data import load
from idle_md.native.operators import load_operators
from idle_md.native.places import REMEDY
from idle_md.nn import Potential, backbone_class, make_backbone

ELEMENTS = [1, 6, 7, 8]
SMALL = {
    "painn": {"features": 16, "interactions": 2, "cutoff": 4.0, "n_radial": 8},
    "hipnn": {"features": 12, "cutoff": 4.0, "n_sensitivities": 4, "atom_layers": 1},
    "gmnn": {"layers": [16, 12], "cutoff": 4.0, "n_radial": 3},
    "toy": {"features": 8, "cutoff": 4.0},
}
HIDDEN = {"painn": 8, "hipnn": 0, "gmnn": 0, "toy": 8}

# MPI ranks that wait shall sleep: there are more of them than cores, and other tests beside them.
os.environ["MPIR_CVAR_CH4_PROGRESS_THROTTLE"] = "1"
os.environ["MPIR_CVAR_CH4_PROGRESS_THROTTLE_NO_PROGRESS_COUNT"] = "16"

LONGEST = (
    "test_invariants",
    "test_adapt",
    "test_quickstart",
    "test_check",
    "test_labelling",
    "test_third_party",
    "test_loop",
    "test_distributed",
    "test_running",
    "test_readme",
)


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Begin with the modules that take longest, so that no process is left alone with one."""
    place = {name: number for number, name in enumerate(LONGEST)}
    items.sort(key=lambda item: place.get(Path(item.location[0]).stem, len(LONGEST)))


def memoized(make: Callable[..., Path]) -> Callable[..., Path]:
    """Return a function that makes the same file once: a test that changes it takes a copy."""
    made: dict[str, Path] = {}

    def once(**settings) -> Path:
        key = repr(sorted(settings.items()))
        if key not in made:
            made[key] = make(**settings)
        return made[key]

    return once


@pytest.fixture(scope="session")
def toy_backbone() -> Iterator[str]:
    """Make the package in ``tests/toy_backbone`` an installed one, in subprocesses too."""
    folder = str(Path(__file__).parent / "toy_backbone")
    with pytest.MonkeyPatch.context() as patch:
        patch.syspath_prepend(folder)
        patch.setenv("PYTHONPATH", folder, prepend=os.pathsep)
        yield "toy"


@pytest.fixture(scope="session")
def make_potential() -> Callable[..., Potential]:
    """Small potentials with random weights, scales and reference energies."""

    def make(
        fidelities: tuple[str, ...] = ("low", "high"),
        correction: bool = True,
        dtype: torch.dtype = torch.float64,
        seed: int = 0,
        name: str = "painn",
        hidden: int | None = None,
        **backbone,
    ) -> Potential:
        torch.manual_seed(seed)
        kind = backbone_class(name)
        network = make_backbone(ELEMENTS, kind.Config(**SMALL[name] | backbone))
        on = {"high": "low"} if correction and "low" in fidelities else {}
        width = HIDDEN[name] if hidden is None else hidden
        potential = Potential(network, list(fidelities), width, on)
        for fidelity, output in potential.heads.output.items():
            torch.nn.init.normal_(output.weight, std=0.3)
            torch.nn.init.normal_(output.bias)
            potential.heads.scale[fidelity].uniform_(0.5, 2.0)
        references = -1000.0 * torch.rand(len(ELEMENTS), len(fidelities), dtype=torch.float64)
        potential.reference_energies[ELEMENTS] = references
        return potential.to_precision(dtype)

    return make


@pytest.fixture(scope="session")
def model_file(make_potential, tmp_path_factory) -> Callable[..., Path]:
    """Export a random potential, once for the same arguments, which are ``make_potential``'s."""

    @memoized
    def export(**settings) -> Path:
        potential = make_potential(**settings)
        path = tmp_path_factory.mktemp("models") / "model.pt"
        core = deploy.extract(potential, "high")
        deploy.save(core, path, deploy.describe(potential, "high"))
        return path

    return export


@pytest.fixture(scope="session")
def committee_file(make_potential, tmp_path_factory) -> Callable[..., Path]:
    """Export random potentials as a committee; member k is ``make_potential(seed=k)``."""

    @memoized
    def export(members: int = 3, **settings) -> Path:
        potentials = [make_potential(seed=k, **settings) for k in range(members)]
        path = tmp_path_factory.mktemp("models") / "committee.pt"
        core = deploy.extract_committee(potentials, "high")
        deploy.save(core, path, deploy.describe(potentials, "high"))
        return path

    return export


@pytest.fixture(scope="session")
def ops() -> None:
    """The native operators; built by `make test` before the tests."""
    assert load_operators(), f"the native operators are not there: {REMEDY}"


@pytest.fixture(scope="session")
def small_store(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Dynamics of methanol and methylamine of chno-mini, all roles."""
    store = load("chno-mini", ["gfn2", "wb97x", "ccsdt"])
    chosen = np.isin(store.group, ["methanol", "methylamine"]) & (store.info["sampling"] == "")
    path = tmp_path_factory.mktemp("data") / "small.h5"
    store.select(np.flatnonzero(chosen)).write(path)
    return path


@pytest.fixture(scope="session")
def make_settings(small_store: Path) -> Callable[[Path], dict[str, Any]]:
    """Plain values of a configuration, by the run folder."""
    return lambda out: {
        "out": str(out),
        "target": "wb97x",
        "labels": {"gfn2": ["energy", "forces"], "wb97x": ["energy"]},
        "data": {
            "store": str(small_store),
            "split": {"validation": 0.3},
            "budgets": {"wb97x": 20},
        },
        "backbone": {"features": 16, "cutoff": 4.0, "n_radial": 6},
        "head_hidden": 8,
        "batch": {"size": 8},
        "optimizer": {"learning_rate": 1e-2, "warmup_steps": 5, "ema_decay": 0.9},
        "budget": {"steps": 150, "validate_every": 25},
        "threads": 1,
    }

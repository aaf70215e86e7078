"""Where training computes, every tensor that is made says on which device."""

import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch.overrides import TorchFunctionMode
from torch.utils._device import _device_constructors

import idle_md
from idle_md.data import GeometryTensors, load
from idle_md.nn import Potential
from idle_md.train import parse_config
from idle_md.train.closed_form import correction as closed_form
from idle_md.train.closed_form.adaptation import Adaptation
from idle_md.train.closed_form.differences import Differences
from idle_md.train.fit.loop import validation_indices
from idle_md.train.fit.module import Batches, FitModule
from idle_md.train.fit.optimizer import Optimization
from idle_md.train.stages.untrained import untrained_potential
from idle_md.train.task import build_task
from tests.conftest import SMALL

PACKAGE = str(Path(idle_md.__file__).parent)
READS = ("_labels", "_kept_edges")
"""Functions that read a store, on the processor; what they make is moved."""


class Strict(TorchFunctionMode):
    """Refuses what would be made on the processor for want of a device."""

    def __torch_function__(self, function, types, arguments=(), options=None):
        options = options or {}
        if function in _device_constructors() and options.get("device") is None:
            frame = sys._getframe(1)
            while frame is not None and not frame.f_code.co_filename.startswith(PACKAGE):
                frame = frame.f_back
            if frame is not None and frame.f_code.co_name not in READS:
                where = f"{frame.f_code.co_filename}:{frame.f_lineno}"
                raise AssertionError(f"{function.__name__} has no device in {where}")
        return function(*arguments, **options)


@contextmanager
def strict() -> Iterator[None]:
    with Strict():
        yield


def test_what_has_no_device_is_seen(monkeypatch: pytest.MonkeyPatch) -> None:
    with strict():
        torch.zeros(3)  # not of this package
    monkeypatch.setattr(sys.modules[__name__], "PACKAGE", str(Path(__file__).parent))
    with strict(), pytest.raises(AssertionError, match=r"zeros has no device in .*test_device.py"):
        torch.zeros(3)
    with strict():
        torch.zeros(3, device="cpu")


@pytest.mark.parametrize("kept_bytes", [None, 0])
@pytest.mark.parametrize("backbone", ["painn", "hipnn", "gmnn"])
def test_steps_of_a_fit(settings: dict[str, Any], backbone: str, kept_bytes: int | None) -> None:
    task = build_task(parse_config({**settings, "backbone": {"name": backbone, **SMALL[backbone]}}))
    potential = untrained_potential(task)
    tensors = GeometryTensors(
        task.store, potential.backbone.cutoff, task.config.fidelities, kept_bytes=kept_bytes
    )
    batches = Batches(tensors.to(torch.device("cpu")), task.stream, validation_indices(task))
    optimization = Optimization(task.config.optimizer, {})
    module = FitModule(potential, task.objective, batches, optimization, task.config.budget)
    optimizer = torch.optim.AdamW(potential.parameters(), fused=True)
    with strict():
        for batch in batches.training(0, 2):
            loss, _ = task.objective(potential, batch)
            loss.backward()
            optimizer.step()
        for number, batch in enumerate(batches.validation()):
            found = module.validation_step(batch, number)
    assert bool(torch.isfinite(loss))
    assert set(found) == {"energy", "per_atom", "forces", "stress", "virials_per_atom"}


@pytest.fixture
def differences(small_store: Path) -> Differences:
    store = load(small_store)
    part = store.select(np.arange(12))
    rng = np.random.default_rng(0)
    n_geometries, n_atoms = part.n_geometries, len(part.numbers)
    energies = rng.normal(size=n_geometries)
    return Differences(
        part,
        energies,
        0.1 * rng.normal(size=(n_atoms, 3)),
        np.zeros(n_geometries),
        np.zeros(n_geometries),
    )


@pytest.mark.parametrize("is_projected", [False, True])
def test_closed_form(
    make_potential: Callable[..., Potential],
    differences: Differences,
    is_projected: bool,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    base = make_potential(fidelities=("low",), correction=False)
    if is_projected:
        monkeypatch.setattr(closed_form, "EXACT_ROWS", 1)
        monkeypatch.setattr(closed_form, "KEPT", 64)
    tensors = GeometryTensors(differences.store, base.backbone.cutoff, [], torch.float64)
    with strict():
        posterior = closed_form.fit_correction(base, differences)
        errors, _ = posterior.left_out()
        batch = tensors.batch([0, 1])
        energies, forces, _ = posterior.correction()(batch)
        drawn, _, _ = posterior.correction(drawn=1)(batch)
        axes = torch.eye(len(differences.store.atoms(0)) * 3, dtype=torch.float64, device="cpu")
        moves = axes[:2].view(2, -1, 3)
        variances = posterior.variances(tensors.batch([0]), moves)
    for found in (errors, energies, forces, drawn, variances):
        assert bool(torch.isfinite(found).all())
    made = posterior.correction()
    kept = (base, differences, 0, posterior.prior, made.direction, made.constants)
    moved = Adaptation(*kept).to(torch.device("cpu"))
    assert moved.base is not base
    assert torch.equal(moved.correction()(batch)[0], energies)

"""The physics of every engine; that they give the same numbers is tested in ``parity``."""

from pathlib import Path

import pytest

from idle_md.deploy import load
from idle_md.engines.engine import Absent, Engine
from idle_md.engines.lammps.engine import LammpsEngine
from idle_md.engines.registry import engines
from idle_md.testing import (
    AtomicEnergies,
    Batching,
    Derivatives,
    Invariants,
    Stress,
    Subject,
    Symmetries,
)

ENGINES = [each for each in engines() if not isinstance(each, Absent)]
DIRECT = [each for each in ENGINES if each.name.startswith(("ASE", "OpenMM"))]


def subject_of(engine: Engine, path: Path) -> Subject:
    model = load(path)
    reason = engine.why_not(model)
    if reason is not None:
        pytest.skip(reason)
    metadata = model.metadata
    return Subject(engine.evaluator(path), metadata.elements, metadata.cutoff_angstrom)


class TestEngine(Invariants, Stress, AtomicEnergies, Batching):
    @pytest.fixture(scope="class", params=ENGINES, ids=lambda engine: engine.name)
    @classmethod
    def subject(cls, request, model_file) -> Subject:
        return subject_of(request.param, model_file())


class TestOtherModels(Invariants, Stress, AtomicEnergies):
    """In the engines whose code meets the model itself; others are compared with them."""

    @pytest.fixture(scope="class", params=["hipnn", "gmnn", "committee"])
    @classmethod
    def path(cls, request, model_file, committee_file) -> Path:
        return committee_file() if request.param == "committee" else model_file(name=request.param)

    @pytest.fixture(scope="class", params=DIRECT, ids=lambda engine: engine.name)
    @classmethod
    def subject(cls, request, path) -> Subject:
        return subject_of(request.param, path)


class TestTwoRanks(Symmetries, Derivatives, Stress, AtomicEnergies, Batching):
    @pytest.fixture(scope="class")
    @classmethod
    def subject(cls, model_file) -> Subject:
        return subject_of(LammpsEngine("ghost", 2), model_file())


class TestLocalMode(Symmetries, Derivatives, Stress, AtomicEnergies, Batching):
    @pytest.fixture(scope="class")
    @classmethod
    def subject(cls, model_file) -> Subject:
        return subject_of(LammpsEngine("local"), model_file(name="gmnn"))

"""Systems of OpenMM with a model in them, as XML."""

import gzip
import re
from pathlib import Path

import numpy as np
import pytest

openmm = pytest.importorskip("openmm")

import idle_md.engines.openmm  # noqa: E402
from idle_md.deploy import load  # noqa: E402
from idle_md.units import KJ_PER_MOL, NM  # noqa: E402


@pytest.mark.parametrize(
    "name",
    [
        "torchforce",
        "torchforce-native",
        "pythonforce",
        "pythonforce-scaled",
        "pythonforce-file",
    ],
)
def test_system(files, numbers, structures, assert_same, name, monkeypatch) -> None:
    kept = numbers["systems"][name]
    model = files / "models" / kept["model"]
    if name.startswith("torchforce"):
        skip_without_torchforce(model)
    if name.endswith("native"):
        skip_without_native(model)
    xml = gzip.decompress((files / f"systems/{name}.xml.gz").read_bytes()).decode()
    system = openmm.XmlSerializer.deserialize(at_path(xml, model) if "file" in name else xml)
    positions = structures[kept["structure"]][1]
    context = context_of(system, positions)
    scale = 1.0
    if name.endswith("scaled"):
        scale = 0.25
        context.setParameter("lambda_ml", scale)
    energy, forces = energy_and_forces(context)
    dtype = load(model, kernels="portable").dtype
    assert_same(energy / scale, forces / scale, kept, dtype)


def at_path(xml: str, model: Path) -> str:
    """Put the path of a model in the place of the one that the XML names, in its pickle."""
    written = re.search(r'function="([0-9a-f]+)"', xml)[1]
    before, rest = bytes.fromhex(written).split(b"path\x94\x8c", 1)
    path = str(model).encode()
    after = b"path\x94X" + len(path).to_bytes(4, "little") + path + rest[1 + rest[0] :]
    header, frame = before[:3], before[11:] + after  # the eight bytes between are its length
    pickled = header + len(frame).to_bytes(8, "little") + frame
    return xml.replace(written, pickled.hex())


def skip_without_torchforce(model) -> None:
    try:
        idle_md.engines.openmm.create_force(model, [1], backend="torchforce", kernels="portable")
    except ImportError as error:
        pytest.skip(str(error))


def skip_without_native(model) -> None:
    try:
        load(model, kernels="native")
    except ValueError as error:
        pytest.skip(str(error))


def context_of(system, positions):
    platform = openmm.Platform.getPlatformByName("Reference")
    context = openmm.Context(system, openmm.VerletIntegrator(0.001), platform)
    context.setPositions(positions / NM)
    return context


def energy_and_forces(context):
    state = context.getState(energy=True, forces=True)
    forces = np.array(state.getForces(asNumpy=True)._value) * KJ_PER_MOL / NM
    return state.getPotentialEnergy()._value * KJ_PER_MOL, forces

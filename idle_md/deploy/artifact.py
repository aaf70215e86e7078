"""The file that is deployed: a TorchScript archive with metadata that is checked on load."""

import hashlib
import importlib.metadata
import io
import json
import logging
import zipfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import get_args

import torch
from pydantic import ValidationError

from idle_md.deploy.closed_form import ClosedFormCore
from idle_md.deploy.committee import CommitteeCore
from idle_md.deploy.core import DeployedCore
from idle_md.deploy.kernels import Kernels, native_core, why_portable
from idle_md.deploy.metadata import FORMAT_VERSION, Metadata
from idle_md.deploy.model import DeployedModel
from idle_md.deploy.torchscript import from_bytes, script, to_bytes
from idle_md.devices import find_device
from idle_md.fidelity import LevelOfTheory
from idle_md.files import replacing
from idle_md.models import model_path, shipped
from idle_md.nn import Potential

logger = logging.getLogger(__name__)
Core = DeployedCore | CommitteeCore | ClosedFormCore

METADATA_FILE = "idle_md.json"
NOT_HASHED = (f"extra/{METADATA_FILE}", ".data/serialization_id")
"""Records left out of the hash: the one that holds it, and torch's checksum over all of them."""


def describe(
    potential: Potential | Sequence[Potential],
    fidelity: str,
    level_of_theory: LevelOfTheory | None = None,
    label_counts: Mapping[str, Mapping[str, Mapping[str, int]]] | None = None,
    test_errors: Mapping[str, Mapping[str, float | None]] | None = None,
    delta_on: str | None = None,
) -> Metadata:
    """Return the metadata of one fidelity of a potential or a committee.

    Parameters
    ----------
    potential, fidelity
        What is deployed; several potentials are the members of a committee.
    level_of_theory, label_counts, test_errors, delta_on
        Where it comes from, how good it is and what must be added, see :class:`Metadata`.
    """
    members = [potential] if isinstance(potential, Potential) else list(potential)
    potential = members[0]
    backbone = potential.backbone
    columns = [member.reference_energies[:, member.column(fidelity)] for member in members]
    references = torch.stack(columns).mean(0).tolist()
    elements = potential.elements_of(fidelity)
    return Metadata(
        fidelity=fidelity,
        members=len(members),
        level_of_theory=level_of_theory,
        elements=elements,
        cutoff_angstrom=backbone.cutoff,
        interactions=backbone.interactions,
        receptive_field_angstrom=backbone.interactions * backbone.cutoff,
        dtype=str(potential.dtype).removeprefix("torch."),  # type: ignore[arg-type]
        reference_energies_ev={z: references[z] for z in elements},
        backbone=potential.hyperparameters["backbone"],
        head_widths=[width for width in (backbone.out_features, potential.hidden, 1) if width],
        delta_on=delta_on,
        label_counts=label_counts or {},  # type: ignore[arg-type]
        test_errors=test_errors or {},  # type: ignore[arg-type]
        versions={"idle_md": importlib.metadata.version("idle-md"), "torch": torch.__version__},
    )


def save(core: Core, path: str | Path, metadata: Metadata) -> None:
    """Write a core and its metadata to one file, whole or not at all.

    Raises
    ------
    OSError
        If the file cannot be written.
    """
    core.metadata = metadata.model_dump_json()
    scripted = script(core)
    digest = content_hash(to_bytes(scripted))
    described = metadata.model_copy(update={"content_sha256": digest})
    content = to_bytes(scripted, {METADATA_FILE: described.model_dump_json(indent=2)})
    with replacing(path) as temporary:
        temporary.write_bytes(content)


def content_hash(archive: bytes) -> str:
    """Return the SHA-256 over all records of a TorchScript archive but the metadata.

    Raises
    ------
    zipfile.BadZipFile
        If a record is damaged.
    """
    digest = hashlib.sha256()
    with zipfile.ZipFile(io.BytesIO(archive)) as records:
        for name in sorted(records.namelist()):
            inner = name.partition("/")[2]  # the first part is the archive's own name
            if inner not in NOT_HASHED:
                record = hashlib.sha256(records.read(name)).hexdigest()
                digest.update(f"{inner} {record}\n".encode())
    return digest.hexdigest()


def load(
    model: DeployedModel | str | Path,
    device: str | torch.device = "cpu",
    dtype: torch.dtype | None = None,
    kernels: Kernels = "auto",
) -> DeployedModel:
    """Return a deployed model, read from its file unless it is one already.

    Parameters
    ----------
    model
        A file that :func:`save` wrote; the name of a model of :mod:`idle_md.models`; or what this
        function returned before, which is handed back as it is.
    device
        Where the model is to run: ``"cpu"``, ``"cuda"``, or ``"cuda:1"`` of several GPUs.
    dtype
        Precision to run in; that of the file by default.
    kernels
        ``"portable"`` runs the graph that is in the file, ``"native"`` this project's operators
        with the same weights, ``"auto"`` native ones where they can be had. A log line says which.

    Raises
    ------
    FileNotFoundError
        If there is no such file.
    ValueError
        If the file is truncated, damaged, of another format version, or not a deployed model; if
        ``kernels="native"`` and there are none for it, or none built; or if there is no such
        device, see :func:`idle_md.devices.find_device`.

    Examples
    --------
    >>> import idle_md
    >>> model = idle_md.load("model.pt")
    >>> model.metadata.cutoff_angstrom
    4.0
    >>> energy, forces = model.evaluate([8, 1, 1], [[0, 0, 0], [0, 0, 1.0], [0.9, 0, -0.3]])
    >>> forces.shape  # in eV/angstrom
    (3, 3)
    """
    if isinstance(model, DeployedModel):
        return model
    path, where = model_path(model), find_device(device)
    content = _content(path)
    metadata = _checked_metadata(content, path)
    precision = dtype or metadata.torch_dtype
    if metadata.closed_form and precision != torch.float64:
        raise ValueError(
            f"{path} is a closed form, which runs in double precision alone: leave out the "
            "precision, or export the model that learned it"
        )
    core = from_bytes(content, where)
    _cast(core, precision)
    if not _takes_native(path, metadata, where, kernels):
        return DeployedModel(core, metadata, where, precision, "portable")
    return DeployedModel(native_core(core, metadata), metadata, where, precision, "native")


def read_metadata(path: str | Path) -> Metadata:
    """Return what a model's file, or one of :mod:`idle_md.models`, says of itself, checked.

    Raises
    ------
    FileNotFoundError, ValueError
        As :func:`load`.
    """
    file = model_path(path)
    return _checked_metadata(_content(file), file)


def _content(path: Path) -> bytes:
    if not path.is_file():
        raise FileNotFoundError(
            f"no model at {path}: `idle-md export` writes one, or give the name of one that comes "
            f"with the package ({', '.join(shipped())})"
        )
    return path.read_bytes()


def _takes_native(path: Path, metadata: Metadata, device: torch.device, kernels: Kernels) -> bool:
    """Decide between native operators and the portable graph, and log it."""
    if kernels not in get_args(Kernels):
        raise ValueError(f"unknown kernels {kernels!r}: use {', '.join(get_args(Kernels))}")
    reason = "asked for" if kernels == "portable" else why_portable(metadata, device)
    if kernels == "native" and reason is not None:
        raise ValueError(f"{path} cannot run on native operators: {reason}")
    which = "native operators" if reason is None else f"the portable graph ({reason})"
    logger.info("%s runs on %s", path, which)
    return reason is None


def _cast(core: torch.jit.ScriptModule, dtype: torch.dtype) -> None:
    """Change the precision of the networks; totals stay in float64."""
    constants = core.constants
    core.to(dtype)
    core.constants = constants


def _checked_metadata(content: bytes, path: Path) -> Metadata:
    try:
        with zipfile.ZipFile(io.BytesIO(content)) as records:
            found = [name for name in records.namelist() if name.endswith(f"extra/{METADATA_FILE}")]
            described = json.loads(records.read(found[0])) if found else None
        digest = content_hash(content)
    except (zipfile.BadZipFile, json.JSONDecodeError) as error:
        state = "truncated or damaged" if content[:2] == b"PK" else "no model file"
        raise ValueError(f"{path} is {state}: write it again with `idle-md export`") from error
    if described is None:
        raise ValueError(
            f"{path} holds no {METADATA_FILE}, so it is no deployed model: make one from a "
            "checkpoint with `idle-md export CHECKPOINT --fidelity NAME -o model.pt`"
        )
    if described.get("format_version") != FORMAT_VERSION:
        raise ValueError(
            f"{path} has format version {described.get('format_version')}, this idle_md reads "
            f"{FORMAT_VERSION}: export the checkpoint again with this version of idle_md"
        )
    if described.get("content_sha256") != digest:
        raise ValueError(
            f"the contents of {path} do not match the hash in its metadata, it was changed or "
            "damaged after export: write it again with `idle-md export`"
        )
    try:
        return Metadata.model_validate(described)
    except ValidationError as error:
        raise ValueError(f"the metadata of {path} cannot be used: {error}") from error

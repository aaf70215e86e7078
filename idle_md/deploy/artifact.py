"""The file that is deployed: a TorchScript archive with metadata that is checked on load."""

import hashlib
import importlib.metadata
import io
import json
import zipfile
from collections.abc import Mapping, Sequence
from pathlib import Path

import torch
from pydantic import ValidationError

from idle_md.deploy.assembly import assembled, takes_native
from idle_md.deploy.closed_form import ClosedFormCore
from idle_md.deploy.committee import CommitteeCore
from idle_md.deploy.core import DeployedCore
from idle_md.deploy.kernels import Kernels
from idle_md.deploy.metadata import FORMAT_VERSION, Metadata
from idle_md.deploy.model import DeployedModel
from idle_md.deploy.torchscript import script, to_bytes
from idle_md.devices import find_device
from idle_md.fidelity import LevelOfTheory
from idle_md.files import replacing
from idle_md.models import model_path, shipped
from idle_md.nn import Potential

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
    states: Mapping[str, Mapping[int, int]] | None = None,
) -> Metadata:
    """Return the metadata of one fidelity of a potential or a committee.

    Parameters
    ----------
    potential, fidelity
        What is deployed; several potentials are the members of a committee.
    level_of_theory, label_counts, test_errors, delta_on
        Where it comes from, how good it is and what must be added, see :class:`Metadata`.
    states
        ``charges`` and ``multiplicities`` that this fidelity was trained on, where known.
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
        **(states or {}),  # type: ignore[arg-type]
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
    relative: bool = False,
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
    relative
        Give energies relative to lone atoms, of which each has none then: to the model's own energy
        of an atom without neighbours, reference energy included.

    Raises
    ------
    FileNotFoundError
        If there is no such file.
    ValueError
        If the file is truncated, damaged, of another format version, or not a deployed model; if
        ``kernels="native"`` and there are none for it, or none built; if there is no such device,
        see :func:`idle_md.devices.find_device`; or if ``relative`` is asked for and the model is an
        explicit difference, or was loaded without.

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
        if relative and not model.relative:
            raise ValueError(
                "the model gives total energies: load it with `idle_md.load(path, relative=True)`"
            )
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
    if relative and metadata.delta_on is not None:
        raise ValueError(
            f"{path} is the difference to a live {metadata.delta_on} calculation, whose lone atoms "
            "it does not know: leave `relative` out"
        )
    native = takes_native(path, metadata, where, kernels)
    return assembled(content, metadata, where, precision, native, relative)


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
    if path.is_dir():
        found = ", ".join(str(each) for each in sorted(path.glob("*.pt"))[:3])
        raise FileNotFoundError(
            f"no model at {path}, which is a folder: "
            + (f"name a file in it ({found})" if found else "`idle-md export` writes a file")
        )
    if not path.is_file():
        raise FileNotFoundError(
            f"no model at {path}: `idle-md export` writes one, or give the name of one that comes "
            f"with the package ({', '.join(shipped())})"
        )
    return path.read_bytes()


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

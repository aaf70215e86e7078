"""Models that come with the package, found by name wherever a model or a checkpoint is given.

``"idle-s"`` is a model at its best level of theory, ``"idle-s-gfn2"`` the same network's parent at
another. As a checkpoint, ``"idle-s"`` has all of its levels.
"""

from pathlib import Path

FOLDER = Path(__file__).parent
SHIPPED = {"idle-s": ("gfn2", "wb97x")}
"""Fidelities by name; that of the bare name is the last."""


def shipped() -> list[str]:
    """Return every name of an exported model that comes with the package."""
    return [n for name, levels in SHIPPED.items() for n in (name, *(f"{name}-{x}" for x in levels))]


def at_fidelity(model: str | Path, fidelity: str | None) -> Path:
    """Return a model's path or name, at one of the fidelities that a shipped one has.

    Raises
    ------
    ValueError
        If a shipped model has no such fidelity, or a file is given together with a fidelity.
    """
    if fidelity is None:
        return Path(model)
    levels = SHIPPED.get(str(model))
    if levels is None:
        raise ValueError(
            f"{model} is no name of a shipped model, and a file has one fidelity: leave the "
            f"fidelity out, or give {', '.join(SHIPPED)}"
        )
    if fidelity not in levels:
        raise ValueError(f"{model} has no fidelity {fidelity!r}: it has {', '.join(levels)}")
    return Path(f"{model}-{fidelity}")


def model_path(model: str | Path) -> Path:
    """Return the file of an exported model that is given by name; any other path as it is."""
    name = str(model)
    if name not in shipped():
        return Path(model)
    if name in SHIPPED:
        name = f"{name}-{SHIPPED[name][-1]}"
    return FOLDER / f"{name}.pt"


def checkpoint_path(checkpoint: str | Path) -> Path:
    """Return the checkpoint of a model that is given by name; any other path as it is."""
    return FOLDER / f"{checkpoint}.ckpt" if str(checkpoint) in SHIPPED else Path(checkpoint)

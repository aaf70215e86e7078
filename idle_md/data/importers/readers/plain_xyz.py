"""Plain XYZ of CP2K, xtb, ORCA and others: energies in comments, forces in a file of their own."""

from pathlib import Path

from idle_md.data.frames import Frame, read_frames
from idle_md.data.importers.request import Request
from idle_md.data.xyzline import comment_energy

COMMENT = "comment"


def comment_energies(path: Path, frames: list[Frame], request: Request) -> list[str]:
    """Make the energies in comments values of their key; where they are not asked for, a note.

    Raises
    ------
    ValueError
        A comment holds no energy or several, or there are no other labels and none are asked for.
    """
    found = [comment_energy(frame.pairs.get(COMMENT, "")) for frame in frames]
    if COMMENT in request.energy:
        for frame, energy in zip(frames, found, strict=True):
            if energy is None:
                raise ValueError(
                    f"{frame.place}: not one energy in the comment "
                    f"{frame.pairs.get(COMMENT, '')[:60]!r}; write energy=NUMBER there"
                )
            frame.pairs[COMMENT] = repr(energy[0])
            if energy[1]:
                frame.pairs["energy-unit"] = energy[1]
        return []
    if all(energy is None for energy in found):
        return []
    note = f"energies in the comments are not imported (--energy {COMMENT}=FIDELITY does)"
    if not request.names and not any({"energy"} & frame.pairs.keys() for frame in frames):
        raise ValueError(f"{path}: {note}; programs write them in hartree: give --energy-unit")
    return [note]


def add_forces(path: Path, frames: list[Frame], key: str) -> None:
    """Give frames the forces that another file has in place of the positions.

    Raises
    ------
    ValueError
        The other file has other frames.
    """
    others = list(read_frames(key))
    if len(others) != len(frames):
        raise ValueError(f"{key}: {len(others)} frames where {path} has {len(frames)}")
    for frame, other in zip(frames, others, strict=True):
        energies = [comment_energy(each.pairs.get(COMMENT, "")) for each in (frame, other)]
        if frame.numbers != other.numbers or len({each[0] for each in energies if each}) > 1:
            raise ValueError(
                f"{other.place}: other atoms or another energy than in {frame.place}; give the "
                "forces of the same frames"
            )
        frame.reals[key] = other.reals["pos"]


def forces_beside(path: Path, wanted: Request) -> list[str]:
    """A note where the forces that CP2K writes beside the positions are not imported."""
    beside = path.with_name(path.name.replace("-pos-", "-frc-"))
    if beside == path or not beside.is_file() or wanted.forces:
        return []
    return [f"not imported: the forces in {beside} (--forces {beside}=FIDELITY does)"]

"""What can be wrong with a neighbour list on a GPU, which cannot stop but gives no numbers."""

from collections.abc import Callable
from typing import TypeVar

T = TypeVar("T")

BAD_BOX, BAD_POSITION, NO_ROOM = 1, 2, 4
"""Bits of what lists call their problem."""
MOST = 3
"""Times that the room is doubled: 1.6 atoms per cubic angstrom is denser than anything."""
BOX = "the box spans no volume, or the system is too large for a neighbour list"
POSITION = "the position of an atom is not a number, or it has flown away"
ROOM = (
    "an atom has more neighbours than the list on the GPU has room for, which begins with 0.2 "
    "atoms per cubic angstrom: look for atoms that are too close, or a box that is too small"
)


def explained(problem: int) -> str:
    """Return what a list calls its problem, in words; nothing for none."""
    if problem & BAD_POSITION:
        return POSITION
    if problem & BAD_BOX:
        return BOX
    return ROOM if problem & NO_ROOM else ""


def with_room(
    evaluate: Callable[[], T],
    is_number: Callable[[T], bool],
    problem: Callable[[], int],
    make_room: Callable[[], None],
) -> T:
    """Return what an evaluation gives, with more room in its list where that is what it lacks.

    Parameters
    ----------
    evaluate
        Gives an energy and what else there is; is called again after more room was made.
    is_number
        Whether what it gives is a number.
    problem, make_room
        Give what was wrong with the list, 0 for nothing, and double its room.

    Raises
    ------
    ValueError
        If the list has another problem, or no end of neighbours; says which.
    """
    found = evaluate()
    for doubled in range(MOST + 1):
        reason = 0 if is_number(found) else problem()
        if not reason:
            return found
        if reason != NO_ROOM or doubled == MOST:
            break
        make_room()
        found = evaluate()
    raise ValueError(f"the energy is not a number: {explained(reason)}")

"""Methods by name: our own, and those of other packages."""

from importlib.metadata import EntryPoint, entry_points
from typing import Any

from idle_md.configuration import unknown

GROUP = "idle_md.methods"
OWN = {
    name: EntryPoint(name, f"{__package__}.methods.{name}:{name.capitalize()}", GROUP)
    for name in ("single", "idle", "transfer", "adapt", "delta")
}
"""Entry points too, because a method imports the configuration, which looks methods up here."""


def method_named(name: str) -> Any:
    """Return the class of a method, of ours or by an entry point of the group ``idle_md.methods``.

    Raises
    ------
    ValueError
        If there is none of that name; suggests the nearest and lists all.
    """
    known = {entry.name: entry for entry in entry_points(group=GROUP)} | OWN
    if name not in known:
        raise ValueError(unknown("method", name, known))
    return known[name].load()

"""Packages as an installer would leave them: a module beside the entry points that name it."""

from pathlib import Path


def install(folder: Path, module: str, source: str, entry_points: str) -> None:
    """Write a package into a folder that is, or will be, on the path of modules."""
    about = folder / f"{module}-1.0.dist-info"
    about.mkdir(parents=True)
    (folder / f"{module}.py").write_text(source)
    (about / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {module}\nVersion: 1.0\n")
    (about / "entry_points.txt").write_text(entry_points)

"""Deployed models in OpenMM.

Importing this package also registers what its forces are made of, so import it before reading a
System that holds one of them from XML.
"""

from idle_md.engines.openmm.force import (
    Attachment,
    Backend,
    FileComputation,
    Neighbors,
    OpenMMModule,
    PythonComputation,
    backend_of,
    create_force,
)
from idle_md.engines.openmm.spread import SpreadError, SpreadReporter

__all__ = [
    "Attachment",
    "Backend",
    "FileComputation",
    "Neighbors",
    "OpenMMModule",
    "PythonComputation",
    "SpreadError",
    "SpreadReporter",
    "backend_of",
    "create_force",
]

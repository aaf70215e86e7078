"""Deployed models in OpenMM.

Importing this package also registers what its forces are made of, so import it before reading a
System that holds one of them from XML.
"""

from idle_md.engines.choices import Backend
from idle_md.engines.edges.choice import Neighbors
from idle_md.engines.openmm.computation import FileComputation, PythonComputation
from idle_md.engines.openmm.force import backend_of, create_force
from idle_md.engines.openmm.mixing import create_mixed_system
from idle_md.engines.openmm.module import Attachment, OpenMMModule
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
    "create_mixed_system",
]

"""Keep one fidelity of a potential and deploy it as one file."""

from idle_md.deploy.artifact import describe, export_checkpoint, load, save
from idle_md.deploy.core import DeployedCore, extract
from idle_md.deploy.metadata import Metadata
from idle_md.deploy.model import DeployedModel

__all__ = [
    "DeployedCore",
    "DeployedModel",
    "Metadata",
    "describe",
    "export_checkpoint",
    "extract",
    "load",
    "save",
]

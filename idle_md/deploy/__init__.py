"""Keep one fidelity of a potential, or of a committee, and deploy it as one file."""

from idle_md.deploy.artifact import describe, load, save
from idle_md.deploy.committee import CommitteeCore, extract_committee
from idle_md.deploy.core import DeployedCore, extract
from idle_md.deploy.export import export_checkpoint
from idle_md.deploy.metadata import Metadata
from idle_md.deploy.model import DeployedModel

__all__ = [
    "CommitteeCore",
    "DeployedCore",
    "DeployedModel",
    "Metadata",
    "describe",
    "export_checkpoint",
    "extract",
    "extract_committee",
    "load",
    "save",
]

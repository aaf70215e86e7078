"""Keep one fidelity of a potential, or of a committee, and deploy it as one file."""

from idle_md.deploy.artifact import describe, load, read_metadata, save
from idle_md.deploy.committee import CommitteeCore, extract_committee
from idle_md.deploy.core import DeployedCore, extract
from idle_md.deploy.export import describe_checkpoint, export_checkpoint
from idle_md.deploy.gate import StateWarning, check_use
from idle_md.deploy.metadata import Metadata
from idle_md.deploy.model import DeployedModel

__all__ = [
    "CommitteeCore",
    "DeployedCore",
    "DeployedModel",
    "Metadata",
    "StateWarning",
    "check_use",
    "describe",
    "describe_checkpoint",
    "export_checkpoint",
    "extract",
    "extract_committee",
    "load",
    "read_metadata",
    "save",
]

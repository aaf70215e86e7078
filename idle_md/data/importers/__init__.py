"""Importers of published data formats."""

from idle_md.data.importers.registry import FORMATS, import_data

__all__ = ["FORMATS", "import_data"]

"""One page of a training: what was learned from what, and how good it is."""

from idle_md.report.page import write_report

__all__ = ["write_report"]

"""The directory a run leaves: adapter, plan, report, page, metrics and model card."""

from s2a_core.outputs.record import command_line, report_document
from s2a_core.outputs.write import write_documents, write_outputs

__all__ = ["command_line", "report_document", "write_documents", "write_outputs"]

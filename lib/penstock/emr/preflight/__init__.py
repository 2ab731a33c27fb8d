"""Says before anything is sent what EMR would have said after minutes: of an artefact, of a request, of an account."""

from __future__ import annotations

from penstock.emr.preflight.finding import Finding, is_fine
from penstock.emr.preflight.run import preflight

__all__ = ["Finding", "is_fine", "preflight"]

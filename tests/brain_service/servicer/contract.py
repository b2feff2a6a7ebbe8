"""What the model says, as the contract's messages."""

from __future__ import annotations

from aivo.brain.v1 import brain_pb2
from brain_service.model import Assessment
from brain_service.servicer.assessments import serialised


def assessment_of(assessment: Assessment) -> brain_pb2.Assessment:
    """Make the contract's message."""
    return brain_pb2.Assessment.FromString(serialised(assessment))

"""Learner states and assessments as compact bytes: their shape, not their meaning.

Both start with the number of their layout and end with a CRC-32 over everything before, so that
truncated or damaged bytes are refused, never misread. Older layouts are converted to today's, see
`layouts`.
"""

from brain_service.model.codec.assessments import (
    decode_assessment,
    encode_assessment,
    in_short,
    told,
)
from brain_service.model.codec.envelope import CorruptBytesError, UnknownLayoutError
from brain_service.model.codec.states import (
    STAMP_BYTES,
    constants_of,
    decode_state,
    encode_state,
    is_up_to_date,
)

__all__ = [
    "STAMP_BYTES",
    "CorruptBytesError",
    "UnknownLayoutError",
    "constants_of",
    "decode_assessment",
    "decode_state",
    "encode_assessment",
    "encode_state",
    "in_short",
    "is_up_to_date",
    "told",
]

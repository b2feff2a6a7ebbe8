"""The content of a row of the log, apart from the chain, as compact bytes.

Columns would take three times the space: ids and trace contexts are hexadecimal digits, contexts
are JSON with repeating names. Every layout stays readable for ever; a change makes a new one.
"""

from __future__ import annotations

import zlib
from typing import Final

from brain_service.engine.storage import LogRow, Row
from brain_service.model.values import maker

_LAYOUT: Final = 1
_ID, _TRACE, _TRACE_TEXT, _RESPONSE = 1, 2, 4, 8
"""Flags: the id is not a UUID and included; the trace context is present, packed or verbatim; there
was a response.
"""
_TIME: Final = 6
"""Bytes of a time in milliseconds, enough for four thousand years in both directions."""
_LONG: Final = 255
_LENGTHS: Final = [bytes((length,)) for length in range(_LONG)]

# Never change it: data written with it is unreadable without it. The most frequent strings are
# last.
_WORDS: Final = (
    b"content_viewquiz_attemptassessmentexercisevideoreading"
    b'"science":"history":"language":"english":"math":"fractions":"equations"'
    b', "attempts": 1, "hints": 0, "item_id": "item-", "time_taken": , "skill": ["'
    b', "subject": "math, "difficulty": {"correct": false{"correct": true'
    b'{"session_id":"","type":"","options":["","source":"","device":""}'
    b"hint_request What is the and which of these is in the practice question_response"
    b"vb-ssm/0.1vb-ssm/0.2"
    b',"hints":0,"attempts":1,"item_id":"item-","time_taken":,"skill":["","skill":"'
    b',"subject":"maths","difficulty":3,"grade":{"correct":false,{"correct":true,'
)

_log_row = maker(LogRow)


class BadEntryError(ValueError):
    """The bytes are damaged, or of a later layout."""


def uuid_bytes(interaction_id: str) -> bytes | None:
    """Return the 16 bytes of a UUID, which keep its time order; None for any other id.

    Only the canonical spelling counts, or two different ids would be taken for one.
    """
    if len(interaction_id) == 36 and interaction_id[8:24:5] == "----":
        return _hexadecimal(interaction_id.replace("-", ""), 32)
    return None


def _hexadecimal(digits: str, length: int) -> bytes | None:
    try:
        packed = bytes.fromhex(digits)
    except ValueError:
        return None
    # `fromhex` also takes capitals, and spaces in place of digits.
    return packed if len(digits) == length and packed.hex() == digits else None


def pack(row: Row, *, id_is_told: bool) -> bytes:
    """Write a row; `id_is_told` when its key in the log is the UUID that its id spells."""
    (
        _, _, _, interaction_id, kind, content, response, context, occurred_at_ms, received_at_ms,
        traceparent, assessment, _,
    ) = row  # fmt: skip
    flags, texts = 0, [kind.encode(), content.encode(), context]
    if response is not None:
        flags |= _RESPONSE
        texts.append(response.encode())
    if not id_is_told:
        flags |= _ID
        texts.append(interaction_id.encode())
    trace = b""
    if traceparent:
        packed = (
            _hexadecimal(traceparent[3:35] + traceparent[36:52] + traceparent[53:], 50)
            if traceparent[:3] == "00-" and traceparent[35:53:17] == "--"
            else None
        )
        if packed is None:
            flags |= _TRACE_TEXT
            texts.append(traceparent.encode())
        else:
            flags |= _TRACE
            trace = packed
    # Small inputs compress in 4 µs with a small window.
    deflate = zlib.compressobj(6, zlib.DEFLATED, -10, 2, zlib.Z_DEFAULT_STRATEGY, _WORDS)
    text = b"".join(texts)
    return b"".join((
        bytes((_LAYOUT, flags)),
        occurred_at_ms.to_bytes(_TIME, "little", signed=True),
        (received_at_ms - occurred_at_ms).to_bytes(_TIME, "little", signed=True),
        trace,
        *[
            _LENGTHS[length] if (length := len(text)) < _LONG else _long(length)
            for text in (*texts, assessment)
        ],
        assessment,
        deflate.compress(text),
        deflate.flush(),
    ))  # fmt: skip


def _long(length: int) -> bytes:
    return _LONG.to_bytes(1, "little") + length.to_bytes(4, "little")


def unpack(entry: bytes, revision: int, interaction_key: bytes) -> LogRow:
    """Read a row. Raises `BadEntryError`."""
    try:
        return _unpack(entry, revision, interaction_key)
    except (zlib.error, IndexError, OverflowError, ValueError) as error:
        raise BadEntryError("a row of the log is damaged") from error


def received_at_ms(entry: bytes) -> int | None:
    """Read a row's arrival time, Unix milliseconds; None if it is damaged or of a later layout."""
    at = 2 + _TIME
    if len(entry) < at + _TIME or entry[0] != _LAYOUT:
        return None
    occurred_at_ms = int.from_bytes(entry[2:at], "little", signed=True)
    return occurred_at_ms + int.from_bytes(entry[at : at + _TIME], "little", signed=True)


def _unpack(entry: bytes, revision: int, interaction_key: bytes) -> LogRow:
    if entry[0] != _LAYOUT:
        raise BadEntryError("a row of the log has a later layout")
    flags = entry[1]
    occurred_at_ms = int.from_bytes(entry[2 : 2 + _TIME], "little", signed=True)
    at = 2 + 2 * _TIME
    received_at_ms = occurred_at_ms + int.from_bytes(entry[2 + _TIME : at], "little", signed=True)
    traceparent = ""
    if flags & _TRACE:
        digits = entry[at : at + 25].hex()
        at += 25
        traceparent = f"00-{digits[:32]}-{digits[32:48]}-{digits[48:]}"
    lengths = []
    for _ in range(4 + (flags & (_ID | _TRACE_TEXT | _RESPONSE)).bit_count()):
        length = entry[at]
        at += 1
        if length == _LONG:
            length = int.from_bytes(entry[at : at + 4], "little")
            at += 4
        lengths.append(length)
    assessment = entry[at : at + lengths[-1]]
    inflate = zlib.decompressobj(-10, _WORDS)
    text = inflate.decompress(entry[at + lengths.pop() :])
    if not inflate.eof or len(text) != sum(lengths):
        raise BadEntryError("a row of the log is cut off")
    texts, at = [], 0
    for length in lengths:
        texts.append(text[at : at + length])
        at += length
    kind, content, context, *more = texts
    rest = iter(more)
    response = next(rest).decode() if flags & _RESPONSE else None
    if flags & _ID:
        interaction_id = next(rest).decode()
    else:
        key = interaction_key.hex()
        interaction_id = f"{key[:8]}-{key[8:12]}-{key[12:16]}-{key[16:20]}-{key[20:]}"
    if flags & _TRACE_TEXT:
        traceparent = next(rest).decode()
    return _log_row((
        revision, interaction_id, kind.decode(), content.decode(), response, context,
        occurred_at_ms, received_at_ms, traceparent, assessment,
    ))  # fmt: skip

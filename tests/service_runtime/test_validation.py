"""What comes from outside: whatever passes can be written and read by every reader."""

from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta, timezone

import pytest
from hypothesis import given
from hypothesis import strategies as st

from service_runtime import validation
from service_runtime.validation import LAST_MS, MAX_DEPTH, OutsideError, check_nesting, check_object


@pytest.mark.parametrize(
    ("text", "good"),
    [
        *(("a", True), ("a" * 128, True), ("user:1@school.example", True), ("..a", True)),
        *(("", False), ("a" * 129, False), (".", False), ("..", False), ("a b", False)),
        *(("a\n", False), ("\u0661", False), ("a/b", False), ("...", True)),
    ],
)
def test_an_id_is_what_an_address_can_hold(text: str, good: bool) -> None:
    assert validation.is_id(text) is good


def nested(levels: int) -> bytes:
    return b'{"a":' * levels + b"1" + b"}" * levels


@pytest.mark.parametrize(
    "data",
    [
        nested(MAX_DEPTH),
        b'{"a":[' + b"[]," * 50 + b"1]}",
        '{"a":"\\ud83d\\ude00 \u00e9 e999"}'.encode(),
        b'{"a":12345678901234567890,"b":1e300,"c":-0.0}',
        b'{"a":"NaN"}',
        b'{"a":"{[{[{[{[{[{[{[{[{[{["}',
    ],
)
def test_sane_objects_pass_both_ways(data: bytes) -> None:
    check_nesting(data)
    check_object(data, most=10_000)


@pytest.mark.parametrize(
    ("data", "why"),
    [
        (nested(MAX_DEPTH + 1), "nested more than 16"),
        (nested(985), "nested more than 16"),
        (b'{"a":' + b"[" * 17 + b"]" * 17 + b"}", "nested more than 16"),
        (b'{"a":1e999}', "beyond 64-bit floats"),
        (b'{"a":-1E+400}', "beyond 64-bit floats"),
        (b'{"a":' + b"9" * 400 + b"}", "beyond 64-bit floats"),
        (b'{"a":%d}' % (2**1024 - 1), "beyond 64-bit floats"),
        (rb'{"a":"\ud800"}', "half a character"),
        (rb'{"\udc00":1}', "half a character"),
    ],
)
def test_what_readers_choke_on_is_refused_both_ways(data: bytes, why: str) -> None:
    for check in (check_nesting, lambda data: check_object(data, most=10_000)):
        with pytest.raises(OutsideError, match=why):
            check(data)


@pytest.mark.parametrize(
    "data",
    [
        *(b"", b"1", b"[]", b"null", b'"{}"', b'{"a":1', b'{"a":1}}', b'{"a":NaN}', b"{'a':1}"),
        *(b'{"a":Infinity}', b'{"a":-Infinity}', b'\xff{"a":1}', b'{"a":"\xff"}'),
        *('{"a":1}'.encode(code) for code in ("utf-16", "utf-16-le", "utf-32", "utf-8-sig")),
        b"[" * 100_000,
        b'{"a":' + b"9" * 5_000 + b"}",
    ],
)
def test_what_is_no_object_is_refused(data: bytes) -> None:
    with pytest.raises(OutsideError):
        check_object(data, most=200_000)


def test_what_is_too_long_is_refused() -> None:
    with pytest.raises(OutsideError, match="at most 10 bytes"):
        check_object(b'{"a":"12345"}', most=10)


values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(st.characters()),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
    max_leaves=20,
)


@given(st.dictionaries(st.text(), values, max_size=4), st.booleans())
def test_whatever_passes_is_read_back_the_same_by_a_strict_reader(
    value: dict[str, object], escaped: bool
) -> None:
    data = json.dumps(value, ensure_ascii=escaped).encode(errors="surrogatepass")
    try:
        check_object(data, most=1_000_000)
    except OutsideError:
        return

    def no_constant(text: str) -> None:
        raise AssertionError(text)

    read = json.loads(data.decode("utf-8"), parse_constant=no_constant)
    assert json.dumps(read, ensure_ascii=False, allow_nan=False).encode()


@pytest.mark.parametrize(
    "moment",
    [
        datetime(1, 1, 1, tzinfo=timezone(timedelta(hours=23, minutes=59))),
        datetime(1, 1, 1, tzinfo=UTC),
        datetime(1970, 1, 1, tzinfo=UTC),
        datetime(1969, 12, 31, 23, 59, 59, 999_000, tzinfo=UTC),
        datetime(9999, 12, 31, 23, 59, 59, tzinfo=timezone(-timedelta(hours=23, minutes=59))),
    ],
)
def test_a_moment_that_no_date_can_tell_is_refused(moment: datetime) -> None:
    with pytest.raises(OutsideError, match="between 1970 and 9999"):
        validation.unix_ms(moment)


@given(st.integers(1, LAST_MS))
def test_every_moment_can_be_written_as_a_date(ms: int) -> None:
    moment = datetime(1970, 1, 1, tzinfo=UTC) + timedelta(milliseconds=ms)

    assert validation.unix_ms(moment) == ms

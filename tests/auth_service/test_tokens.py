"""Access tokens, refresh tokens and the key file."""

from __future__ import annotations

import contextlib
import json
import multiprocessing
import stat
from pathlib import Path

import jwt
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from auth_service.tokens import BadTokenError, KeyFile, KeyFileError, KeySet, Tokens
from tests.auth_service.harness import Clock

SESSION = "0b4f1d6e-1111-4222-8333-444455556666"


def make(keys: KeySet | None = None, clock: Clock | None = None, **options: int) -> Tokens:
    clock = clock or Clock()
    return Tokens(keys or KeySet.make(clock()), issuer="aivo", clock=clock, **options)


def test_a_token_says_whom_it_was_signed_for() -> None:
    clock = Clock()
    keys = KeySet.make(clock())
    signer, another_process = make(keys, clock), make(keys, clock)

    token = signer.sign("ann", SESSION, "learner", 900)
    claims = another_process.read(token)

    assert claims == signer.read(token)
    assert (claims.user_id, claims.session_id, claims.expires_at) == (
        "ann",
        SESSION,
        int(clock.now_s) + 900,
    )


def test_a_token_expires_also_once_it_was_found_genuine() -> None:
    clock = Clock()
    tokens = make(clock=clock)
    token = tokens.sign("ann", SESSION, "learner", 900)
    tokens.read(token)

    clock.now_s += 900

    with pytest.raises(BadTokenError, match="expired"):
        tokens.read(token)
    assert tokens.read(token, allow_expired=True).session_id == SESSION


def test_anyone_can_verify_a_token_with_the_published_keys() -> None:
    clock = Clock()
    tokens = make(KeySet.make(clock()).rotated(clock(), lead_s=60, keep_s=60), clock)
    token = tokens.sign("ann", SESSION, "learner", 900)
    header = jwt.get_unverified_header(token)

    published = jwt.PyJWKSet.from_json(tokens.jwks())
    claims = jwt.decode(token, published[header["kid"]], algorithms=["EdDSA"],
        options={"verify_signature": True,
        "verify_iat": False, "verify_exp": False})  # fmt: skip

    assert header["alg"] == "EdDSA"
    assert claims["sub"] == "ann"
    assert len(published.keys) == 2
    assert '"d"' not in tokens.jwks()


def test_a_token_of_another_issuer_key_or_kind_is_refused() -> None:
    keys, clock = KeySet.make(0), Clock()
    tokens = make(keys, clock)
    key = keys.keys[0]
    good = {"iss": "aivo", "sub": "ann", "sid": SESSION, "exp": int(clock.now_s) + 900}
    head = {"kid": key.kid, "typ": "at+jwt"}

    def sign(claims: dict[str, object], headers: dict[str, object]) -> str:
        return jwt.encode(claims, key.private, algorithm="EdDSA", headers=headers)

    assert tokens.read(sign(good, head)).user_id == "ann"
    forged = [
        Tokens(KeySet.make(0), issuer="aivo", clock=clock).sign("ann", SESSION, "admin", 900),
        sign(good | {"iss": "other"}, head),
        sign(good, head | {"kid": "unknown"}),
        sign(good, head | {"typ": "JWT"}),
        sign({name: value for name, value in good.items() if name != "exp"}, head),
        sign({name: value for name, value in good.items() if name != "sid"}, head),
        sign(good | {"exp": "soon"}, head),
        sign(good | {"exp": float("inf")}, head),
        sign(good | {"exp": None}, head),
        jwt.encode(good, "x" * 64, algorithm="HS256", headers=head),
        jwt.encode(good, None, algorithm="none", headers=head),
        jwt.encode(good, key.public_jwk()["x"].encode() * 2, algorithm="HS256", headers=head),
    ]
    for token in forged:
        with pytest.raises(BadTokenError, match="the access token is not valid"):
            tokens.read(token)


@given(
    st.one_of(
        st.text(),
        st.from_regex(
            r"[A-Za-z0-9_-]{0,40}\.[A-Za-z0-9_-]{0,40}\.[A-Za-z0-9_-]{0,90}", fullmatch=True
        ),
    )
)
@example("")
@example("a.b.c")
@example("." * 5000)
@example("\ud800.\ud800.\ud800")
@example("eyJhbGciOiJFZERTQSIsImtpZCI6W119.e30.")
def test_garbage_is_no_token(garbage: str) -> None:
    tokens = TOKENS

    with pytest.raises(BadTokenError) as access:
        tokens.read(garbage)
    with pytest.raises(BadTokenError) as refresh:
        tokens.read_refresh(garbage)

    assert str(access.value) == "the access token is not valid"
    assert str(refresh.value) == "the refresh token is not valid"


CLAIMS = st.sampled_from(["iss", "sub", "sid", "exp", "nbf", "aud", "x"])
JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text() | st.just("aivo"),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(CLAIMS, inner),
    max_leaves=8,
)


@given(JSON.map(lambda value: json.dumps(value).encode()) | st.binary())
def test_signed_nonsense_is_no_token_or_has_all_claims(payload: bytes) -> None:
    key = KEYS.keys[0]
    token = jwt.PyJWS().encode(
        payload, key.private, algorithm="EdDSA", headers={"kid": key.kid, "typ": "at+jwt"}
    )

    with contextlib.suppress(BadTokenError):
        claims = TOKENS.read(token, allow_expired=True)
        assert isinstance(claims.expires_at, int)
        assert json.loads(payload)["iss"] == "aivo"


@given(st.integers(0, 200), st.integers(0, 5))
def test_a_token_changed_anywhere_is_refused(position: int, bit: int) -> None:
    good = TOKENS.make_refresh(SESSION, 3)[0]
    position %= len(good)
    alphabet = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_"
    changed = (
        good[:position] + alphabet[alphabet.index(good[position]) ^ 1 << bit] + good[position + 1 :]
    )

    with pytest.raises(BadTokenError):
        TOKENS.read_refresh(changed)


def test_a_refresh_token_says_its_session_and_generation() -> None:
    token, digest = TOKENS.make_refresh(SESSION, 7)

    read = TOKENS.read_refresh(token)

    assert (read.session_id, read.generation, read.digest) == (SESSION, 7, digest)
    assert TOKENS.make_refresh(SESSION, 7)[0] != token


def test_a_coming_key_is_published_before_it_signs_and_old_tokens_stay_good() -> None:
    clock = Clock()
    keys = KeySet.make(clock())
    tokens = make(keys, clock)
    old = tokens.sign("ann", SESSION, "learner", 900)

    tokens.use(keys.rotated(clock(), lead_s=60, keep_s=900))
    early = tokens.sign("ann", SESSION, "learner", 900)
    clock.now_s += 60
    late = tokens.sign("ann", SESSION, "learner", 900)

    kids = [jwt.get_unverified_header(token)["kid"] for token in (old, early, late)]
    assert kids[0] == kids[1] != kids[2]
    assert kids[2] in tokens.jwks()
    assert tokens.read(old) and tokens.read(late)  # noqa: PT018


def test_a_key_is_dropped_when_all_its_tokens_have_expired() -> None:
    first = KeySet.make(0)
    second = first.rotated(1000, lead_s=0, keep_s=900)

    assert [len(second.rotated(now, lead_s=0, keep_s=900).keys) for now in (1000, 1899, 1901)] == [
        3,
        3,
        2,
    ]


def test_tokens_of_a_dropped_key_are_refused_also_when_found_genuine_before() -> None:
    tokens = make()
    token = tokens.sign("ann", SESSION, "learner", 900)
    tokens.read(token)

    tokens.use(KeySet.make(0))

    with pytest.raises(BadTokenError):
        tokens.read(token)


def test_the_memory_of_genuine_tokens_is_bounded() -> None:
    tokens = make(remembered=3)
    signed = [tokens.sign("ann", f"{SESSION}-{number}", "learner", 900) for number in range(9)]
    first = [tokens.read(token) for token in signed]
    again = [tokens.read(token) for token in reversed(signed)][::-1]

    assert again == first
    assert [one is before for one, before in zip(again, first, strict=True)] == [False] * 6 + [
        True
    ] * 3


def test_the_key_file_is_made_for_its_owner_only_and_read_again(tmp_path: Path) -> None:
    file = KeyFile(tmp_path / "new" / "keys.json")

    made = file.load_or_create(0)

    assert stat.S_IMODE((tmp_path / "new" / "keys.json").stat().st_mode) == 0o600
    assert file.load_or_create(99).jwks() == made.jwks() == file.load().jwks()
    assert [path.name for path in (tmp_path / "new").iterdir()] == ["keys.json"]


def test_a_replaced_key_file_stays_private_and_shows_a_new_stamp(tmp_path: Path) -> None:
    path = tmp_path / "keys.json"
    file = KeyFile(path)
    stamp = (file.load_or_create(0), file.stamp())[1]

    file.replace(file.load().rotated(5, lead_s=0, keep_s=9))

    assert len(file.load().keys) == 2
    assert stamp != file.stamp()
    assert stat.S_IMODE(path.stat().st_mode) == 0o600


def _kid(path: Path) -> str:
    return KeyFile(path).load_or_create(0).keys[0].kid


def test_processes_that_start_at_once_share_one_key(tmp_path: Path) -> None:
    with multiprocessing.get_context("spawn").Pool(3) as pool:
        kids = pool.map(_kid, [tmp_path / "keys.json"] * 12)

    assert len(set(kids)) == 1


@pytest.mark.parametrize(
    "content",
    [
        "",
        "{}",
        "[]",
        '{"keys": [], "refresh_secret": ""}',
        '{"keys": [{"d": "!", "sign_from": 0}]}',
        "\xff",
    ],
)
def test_a_damaged_key_file_is_refused_and_left_alone(tmp_path: Path, content: str) -> None:
    path = tmp_path / "keys.json"
    path.write_bytes(content.encode("latin-1"))

    with pytest.raises(KeyFileError, match=r"keys\.json"):
        KeyFile(path).load_or_create(0)
    assert path.read_bytes() == content.encode("latin-1")


KEYS = KeySet.make(0)
TOKENS = make(KEYS)

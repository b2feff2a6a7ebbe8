"""Signatures are those of the Standard Webhooks specification."""

from __future__ import annotations

import base64

import pytest
from hypothesis import given
from hypothesis import strategies as st

from brain_service.webhooks.signing import BadSecretError, read_secret, signed


def test_the_example_of_the_specification_comes_out() -> None:
    """The test vector of its reference libraries."""
    key = read_secret("whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw")
    headers = signed("msg_p5jXN8AQM9LWM0D4loKWxJek", 1614265330, b'{"test": 2432232314}', [key])
    assert headers == {
        "webhook-id": "msg_p5jXN8AQM9LWM0D4loKWxJek",
        "webhook-timestamp": "1614265330",
        "webhook-signature": "v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE=",
    }


def test_each_secret_signs_so_that_a_receiver_may_know_either() -> None:
    old, new = bytes(24), bytes(range(24))
    both = signed("msg_1", 5, b"{}", [new, old])["webhook-signature"]
    alone = [signed("msg_1", 5, b"{}", [one])["webhook-signature"] for one in (new, old)]
    assert both.split() == alone


@pytest.mark.parametrize(
    ("text", "named"),
    [
        ("MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw", "begin with"),
        ("whsec_", "24–64 bytes"),
        ("whsec_" + base64.b64encode(bytes(23)).decode(), "24–64 bytes"),
        ("whsec_" + base64.b64encode(bytes(65)).decode(), "24–64 bytes"),
        ("whsec_not base64!", "Base64"),
        ("whsec_päd", "Base64"),
    ],
    ids=["prefix", "empty", "short", "long", "characters", "umlaut"],
)
def test_a_secret_that_cannot_sign_is_refused_and_not_repeated(text: str, named: str) -> None:
    with pytest.raises(BadSecretError, match=named) as caught:
        read_secret(text)
    assert text.removeprefix("whsec_") == "" or text.removeprefix("whsec_") not in str(caught.value)


@given(st.binary(max_size=300), st.binary(min_size=1, max_size=1))
def test_a_changed_body_has_another_signature(body: bytes, more: bytes) -> None:
    key = bytes(24)
    assert signed("m", 1, body, [key]) != signed("m", 1, body + more, [key])

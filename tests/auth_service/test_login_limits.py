"""Who waits after wrong passwords: whoever guesses, and not the owner of the account."""

from __future__ import annotations

import pytest

from auth_service.devices import Devices
from auth_service.known_addresses import FORGET_S, MAX_PLACES, KnownAddresses
from auth_service.login_limits import (
    ADDRESS_WAIT_S,
    Allowance,
    LoginLimits,
    TooManyAttemptsError,
    UnauthenticatedError,
)

ALLOWANCE = Allowance(per_pair=4, per_account=20, per_address=10, max_wait_s=60.0)


def guess(limits: LoginLimits, account: str, address: str, device: str = "") -> bool:
    """Try a wrong password; tell whether it was tried at all."""
    try:
        with limits.counted(account, address, device, 0.0):
            raise UnauthenticatedError
    except UnauthenticatedError:
        return True
    except TooManyAttemptsError:
        return False


def sign_in(limits: LoginLimits, account: str, address: str, device: str = "") -> float:
    """Try the right password; return how long to wait before that, or 0."""
    try:
        with limits.counted(account, address, device, 0.0):
            return 0.0
    except TooManyAttemptsError as error:
        return float(dict(error.trailing_metadata)["retry-after-ms"]) / 1000


def test_guesses_from_elsewhere_do_not_lock_the_owner_out() -> None:
    limits = LoginLimits(ALLOWANCE)
    assert [guess(limits, "ann", "attacker") for _ in range(6)] == [True] * 4 + [False] * 2

    assert sign_in(limits, "ann", "home") == 0.0


def test_a_device_of_the_owner_waits_for_nobody() -> None:
    limits = LoginLimits(ALLOWANCE)
    for number in range(60):
        guess(limits, "ann", f"attacker-{number}")
        guess(limits, f"somebody-{number}", "school")
    assert sign_in(limits, "ann", "elsewhere") > 0.0, "guessing from many addresses is slowed"

    assert sign_in(limits, "ann", "school", device="tablet") == 0.0


def test_a_stolen_device_token_is_slowed_like_anybody() -> None:
    limits = LoginLimits(ALLOWANCE)
    tried = [guess(limits, "ann", f"address-{number}", "stolen") for number in range(6)]

    assert tried == [True] * 4 + [False] * 2
    assert sign_in(limits, "ann", "home", device="tablet") == 0.0


def test_a_school_that_mistypes_waits_for_a_moment_only() -> None:
    limits = LoginLimits(ALLOWANCE)
    for number in range(50):
        guess(limits, f"pupil-{number}", "school")

    assert 0.0 < sign_in(limits, "teacher", "school") <= ADDRESS_WAIT_S


def test_a_right_password_makes_up_for_what_its_owner_mistyped_and_for_nothing_else() -> None:
    limits = LoginLimits(ALLOWANCE)
    for _ in range(3):
        guess(limits, "ann", "home")
    assert sign_in(limits, "ann", "home") == 0.0
    assert [guess(limits, "ann", "home") for _ in range(4)] == [True] * 4


def test_a_device_is_known_for_one_account_and_for_a_time() -> None:
    devices = Devices(b"secret", lifetime_s=100)
    token = devices.token("ann", 1000.0)

    assert devices.knows(token, "ann", 1099.0)
    assert devices.knows(token, "ann", 1000.0) == devices.knows(token, "ann", 1050.0)
    assert devices.knows(token, "ann", 1100.0) == ""
    assert devices.knows(token, "bob", 1000.0) == ""
    assert Devices(b"another", lifetime_s=100).knows(token, "ann", 1000.0) == ""
    assert token != devices.token("ann", 1000.0), "two devices cannot be told to be one person's"


@pytest.mark.parametrize("token", ["", "x", "!" * 72, "a" * 72, "\ud800", "é" * 40, "A" * 10_000])
def test_garbage_is_no_device(token: str) -> None:
    assert Devices(b"secret", lifetime_s=100).knows(token, "ann", 0.0) == ""


def test_sprayed_names_keep_nobody_out_who_was_here_before() -> None:
    limits = LoginLimits(ALLOWANCE)
    assert sign_in(limits, "ann", "school") == 0.0
    for number in range(500):
        guess(limits, f"name-{number}", "school")

    assert sign_in(limits, "ann", "school") == 0.0
    assert 0.0 < sign_in(limits, "bob", "school") <= ADDRESS_WAIT_S


def test_guesses_from_many_addresses_keep_no_owner_out_at_home() -> None:
    limits = LoginLimits(ALLOWANCE)
    assert sign_in(limits, "ann", "home") == 0.0
    for number in range(500):
        guess(limits, "ann", f"attacker-{number}")

    assert sign_in(limits, "ann", "home") == 0.0
    assert sign_in(limits, "ann", "elsewhere") > 0.0


def test_who_guesses_where_the_owner_is_at_home_waits_all_the_same() -> None:
    limits = LoginLimits(ALLOWANCE)
    assert sign_in(limits, "teacher", "school") == 0.0
    tried = [guess(limits, "teacher", "school") for _ in range(6)]

    assert tried == [True] * 4 + [False] * 2


@pytest.mark.parametrize(
    ("account", "address", "after_s", "known"),
    [
        ("ann", "home", FORGET_S - 1, True),
        ("ann", "home", FORGET_S, False),
        ("ann", "school", 0.0, False),
        ("bob", "home", 0.0, False),
        ("ann", "", 0.0, False),
        ("\ud800", "home", 0.0, False),
    ],
)
def test_what_is_familiar(account: str, address: str, after_s: float, known: bool) -> None:
    familiar = KnownAddresses()
    familiar.add("ann", "home", 1000.0)
    familiar.add("ann", "", 1000.0)

    assert familiar.knows(account, address, 1000.0 + after_s) is known


def test_so_many_places_are_remembered_and_no_more() -> None:
    familiar = KnownAddresses()
    for number in range(MAX_PLACES + 5):
        familiar.add(str(number), "home", 0.0)

    assert len(familiar) == MAX_PLACES
    assert not familiar.knows("4", "home", 0.0)
    assert familiar.knows("5", "home", 0.0)

"""Password hashes."""

from __future__ import annotations

import asyncio
import os
import threading
from collections.abc import Iterator

import pytest
from argon2 import PasswordHasher

from auth_service.passwords import Cost, Passwords, TooManyHashesError

CHEAP = Cost(time=1, memory_kib=64, lanes=1)


@pytest.fixture
def passwords() -> Iterator[Passwords]:
    passwords = Passwords(CHEAP)
    yield passwords
    passwords.close()


async def test_a_password_verifies_against_its_own_hash_only(passwords: Passwords) -> None:
    encoded = await passwords.hash("correct horse")

    assert encoded.startswith("$argon2id$")
    assert await passwords.verify("correct horse", encoded)
    assert not await passwords.verify("correct horsf", encoded)
    assert not await passwords.verify("", encoded)


async def test_two_hashes_of_a_password_differ(passwords: Passwords) -> None:
    assert await passwords.hash("correct horse") != await passwords.hash("correct horse")


async def test_a_password_verifies_however_its_letters_are_composed(passwords: Passwords) -> None:
    assert await passwords.verify(
        "zoe\u0308 und die anderen", await passwords.hash("zo\u00eb und die anderen")
    )


async def test_nobody_has_no_password_but_costs_the_same_work(
    passwords: Passwords, monkeypatch: pytest.MonkeyPatch
) -> None:
    verified = []
    real = PasswordHasher.verify

    def verify(hasher: PasswordHasher, encoded: str, password: bytes) -> bool:
        verified.append(encoded)
        return real(hasher, encoded, password)

    monkeypatch.setattr(PasswordHasher, "verify", verify)

    assert not await passwords.verify("anything at all", None)
    assert len(verified) == 1
    assert verified[0].startswith("$argon2id$")


async def test_a_damaged_hash_verifies_nothing(passwords: Passwords) -> None:
    assert not await passwords.verify("correct horse", "no hash")


async def test_a_hash_of_other_parameters_is_outdated(passwords: Passwords) -> None:
    dearer = Passwords(Cost(time=2, memory_kib=64, lanes=1))
    encoded = await passwords.hash("correct horse")
    dearer.close()

    assert not passwords.outdated(encoded)
    assert dearer.outdated(encoded)


async def test_more_than_the_bound_are_refused_and_room_comes_back(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    passwords = Passwords(CHEAP, threads=1, max_waiting=1)
    gate = threading.Event()
    monkeypatch.setattr(passwords, "_hash", lambda password: gate.wait(20) and password)
    first, second = (asyncio.ensure_future(passwords.hash(each)) for each in ("one", "two"))
    await asyncio.sleep(0)

    with pytest.raises(TooManyHashesError):
        await passwords.hash("three")

    gate.set()
    assert [await first, await second] == ["one", "two"]
    assert await passwords.hash("four") == "four"
    passwords.close()


async def test_the_loop_goes_on_while_a_thread_hashes(monkeypatch: pytest.MonkeyPatch) -> None:
    passwords = Passwords(CHEAP)
    gate = threading.Event()
    monkeypatch.setattr(passwords, "_hash", lambda password: gate.wait(20) and password)
    hashing = asyncio.ensure_future(passwords.hash("one"))
    await asyncio.sleep(0)

    gate.set()  # reached only because the loop was not blocked

    assert await hashing == "one"
    passwords.close()


@pytest.mark.skipif(not hasattr(os, "getpriority"), reason="no priorities of threads here")
async def test_who_can_wait_gives_way_to_who_cannot(
    passwords: Passwords, monkeypatch: pytest.MonkeyPatch
) -> None:
    def niceness(*_: object) -> int:
        return os.getpriority(os.PRIO_PROCESS, threading.get_native_id())

    monkeypatch.setattr(passwords, "_verify", niceness)
    ours = niceness()
    nice = [int(await passwords.verify("x", None, can_wait=each)) for each in (False, True, False)]

    assert nice == [min(ours + 2, 19), min(ours + 12, 19), min(ours + 2, 19)]

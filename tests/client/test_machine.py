"""The connection without a network: tokens, attempts, closes, clocks, signs of life."""

from __future__ import annotations

import pytest

from aivo_client import AivoError, ClosedError, errors
from aivo_client.values import (
    Close,
    GetToken,
    Lost,
    RefuseToken,
)
from tests.client.world import World, stamp


def test_the_token_goes_into_the_first_frame() -> None:
    world = World()
    world.do(world.machine.connect(*world.at()))
    world.give_token("secret")
    sent = world.do(world.machine.opened(world.socket, *world.at()))

    assert world.frames(sent) == [{"type": "authenticate", "token": "secret"}]


@pytest.mark.parametrize(
    ("code", "phase"),
    [
        (1000, "closed"),
        (1006, "waiting"),
        (1009, "waiting"),
        (1011, "waiting"),
        (1012, "waiting"),
        (1013, "waiting"),
        (4400, "closed"),
        (4401, "waiting"),
        (4403, "closed"),
        (4408, "waiting"),
        (4429, "waiting"),
        (4999, "waiting"),
    ],
)
def test_each_close_code_has_its_consequence(code: int, phase: str) -> None:
    world = World()
    world.connect()
    told = world.close(code)

    assert world.machine.phase == phase
    (lost,) = world.of(Lost, told)
    assert lost.close_code == code
    assert (lost.error is None) is (phase == "waiting")


def test_a_refused_token_is_never_sent_twice() -> None:
    world = World()
    world.do(world.machine.connect(*world.at()))
    world.give_token("old")
    world.do(world.machine.opened(world.socket, *world.at()))
    world.close(errors.BAD_TOKEN)
    world.wake("reconnect")
    world.give_token("old")
    assert world.machine.phase == "waiting"

    world.wake("reconnect")
    world.give_token("new")
    assert world.machine.phase == "opening"


def test_that_a_token_is_refused_is_told_before_another_is_asked_for() -> None:
    world = World()
    world.do(world.machine.connect(*world.at()))
    world.give_token("old")
    world.do(world.machine.opened(world.socket, *world.at()))
    assert world.of(RefuseToken, world.close(errors.BAD_TOKEN))

    world.wake("reconnect")
    world.give_token("new")
    world.establish()
    world.do(world.machine.token_changed(*world.at()))
    world.give_token("bad")
    told = world.tell(
        "error", code="unauthenticated", error="no", message_type="authenticate", retryable=False
    )
    assert [type(one) for one in told if isinstance(one, RefuseToken | GetToken)] == [
        RefuseToken,
        GetToken,
    ]


def test_who_never_gets_a_token_closes_for_good() -> None:
    world = World()
    world.do(world.machine.connect(*world.at()))
    refused = ClosedError("refused", "The password is wrong.")
    (lost,) = world.of(Lost, world.give_token(error=refused))

    assert (world.machine.phase, lost.error) == ("closed", refused)
    assert world.do(world.machine.woken("attempt", *world.at())) == []


def test_who_gets_no_token_for_now_asks_no_sooner_than_told() -> None:
    world = World()
    world.do(world.machine.connect(*world.at()))
    told_to_wait = AivoError("rate_limited", retryable=True, retry_after_s=90.0)
    world.give_token(error=told_to_wait)
    assert 90.0 <= world.timers["reconnect"] <= 91.0

    world.wake("reconnect")
    world.give_token()
    world.establish()
    world.wake("refresh")
    world.give_token(error=told_to_wait)
    assert world.timers["refresh"] - world.now == pytest.approx(90.0)


def test_the_wait_grows_and_is_jittered_and_a_stable_connection_resets_it() -> None:
    world, waits = World(), []
    world.connect()
    for _ in range(8):
        world.close(1006)
        waits.append(world.timers["reconnect"] - world.now)
        world.wake("reconnect")
        world.give_token()
    assert all(0.5 <= wait <= 20.0 for wait in waits)
    assert max(waits[4:]) > 2.0 > waits[0]

    world.establish()
    world.now += 6.0
    world.close(1006)
    assert world.timers["reconnect"] - world.now <= 1.0


def test_a_server_that_drains_says_when_to_come_back() -> None:
    world = World()
    world.connect()
    world.tell("server_draining", reconnect_after_ms=3_000)
    world.now += 1.0
    world.close(1012)

    assert world.timers["reconnect"] == pytest.approx(3.0)


def test_after_being_told_to_wait_it_waits() -> None:
    world = World()
    world.connect()
    world.tell("error", code="rate_limited", error="slow", retryable=True, retry_after_ms=30_000)
    world.close(4429)

    assert world.timers["reconnect"] >= 30.0


def test_so_many_attempts_and_no_more() -> None:
    world = World(max_attempts=2)
    world.do(world.machine.connect(*world.at()))
    for _ in range(2):
        world.give_token()
        world.close(1006)
        world.wake("reconnect")
    world.give_token()
    (lost,) = world.of(Lost, world.close(1006))

    assert world.machine.phase == "closed"
    assert lost.error.code == "connection_lost"


def test_silence_is_asked_about_and_then_taken_for_death() -> None:
    world = World()
    world.connect()
    world.tell("pong", id="ping1")
    asked = world.wake("heartbeat")
    assert [frame["type"] for frame in world.frames(asked)] == ["ping"]
    dead = world.wake("pong")

    assert world.of(Close, dead) == [Close(errors.DEAD)]
    assert world.machine.phase == "waiting"


def test_the_servers_clock_is_learned_and_what_waited_says_when_it_happened() -> None:
    world = World()
    world.interact("early")
    world.now = 60.0
    world.do(world.machine.connect(*world.at()))
    world.give_token()
    world.do(world.machine.opened(world.socket, *world.at()))
    behind = 2_400.0  # this machine's clock is 40 minutes behind
    limits = {"frames_per_second": 50, "burst": 100}
    frame = {"type": "connection_established", "timestamp": stamp(60.0 + behind), "limits": limits}
    sent = world.frames(world.do(world.machine.received(world.socket, frame, *world.at())))

    (one,) = [frame for frame in sent if frame["type"] == "virtual_brain_interact"]
    assert one["data"]["occurred_at"] == stamp(behind).replace("+00:00", ".000Z")
    assert world.machine.skew_s == pytest.approx(behind)


def test_a_token_is_replaced_in_place_before_it_expires() -> None:
    world = World()
    world.connect()
    for _ in range(40):
        world.now = min(world.now + 20.0, world.timers["refresh"])
        world.tell("pong")
    world.wake("refresh")
    assert 810.0 <= world.now <= 850.0
    (sent,) = world.frames(world.give_token("newer"))

    assert (sent["type"], sent["token"]) == ("authenticate", "newer")
    world.tell("authenticated", expires_at=stamp(world.now + 900))
    assert world.timers["refresh"] > world.now + 800.0


def test_another_persons_token_gets_another_connection() -> None:
    world = World()
    world.connect()
    world.do(world.machine.token_changed(*world.at()))
    (sent,) = world.frames(world.give_token("other"))
    world.tell(
        "error", code="conflict", error="no", id=sent["id"], message_type="authenticate",
        retryable=False,
    )  # fmt: skip

    assert world.machine.phase == "waiting"

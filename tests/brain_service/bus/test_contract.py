"""What every bus promises, on real servers: in one process, over a socket, with a password, over
TLS, the server's own where it has it.
"""

from __future__ import annotations

import asyncio
import signal
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator, Sequence
from contextlib import AbstractAsyncContextManager, ExitStack, asynccontextmanager
from pathlib import Path

import pytest

from brain_service.bus import open_bus
from brain_service.bus import valkey as valkey_bus
from brain_service.bus.local import LocalBus
from brain_service.bus.messages import channel_names
from brain_service.bus.valkey import ValkeyBus, check_url
from brain_service.engine.publication import Publication
from harness.valkey import Valkey
from tests.support.certificate import make_certificate
from tests.support.eventually import until
from tests.support.tls_relay import tls_relay
from tests.support.valkey import free_port, running_valkey

pytestmark = pytest.mark.timeout(60)

KINDS = ["local", "socket", "password", "tls", "tls of its own"]


def publication(learner_id: str, revision: int) -> Publication:
    return Publication(learner_id, revision, None, (), "", 7, gone=revision == 0)


class Ear:
    """A follower that writes down what it is told."""

    def __init__(self) -> None:
        self.heard: list[tuple[str, int]] = []
        self.touch: list[str] = []
        self._news = asyncio.Event()

    def hear(self, publications: Sequence[Publication]) -> None:
        assert all(each.assessment is None for each in publications)
        self.heard += [(each.learner_id, each.revision) for each in publications]
        self._news.set()

    def lose_touch(self) -> None:
        self.touch.append("lost")
        self._news.set()

    def regain_touch(self) -> None:
        self.touch.append("regained")
        self._news.set()

    async def until(self, met: Callable[[], bool]) -> None:
        async with asyncio.timeout(20):
            while not met():
                self._news.clear()
                await self._news.wait()


class End:
    """One brain's end of a bus, its ear and what its own subscribers got."""

    def __init__(self, bus: LocalBus | ValkeyBus) -> None:
        self.bus = bus
        self.ear = Ear()
        self.own: list[Publication] = []
        bus.subscribe(self.own.extend)
        bus.follow(self.ear)

    async def in_touch(self) -> None:
        if isinstance(self.bus, ValkeyBus):
            await self.ear.until(lambda: self.ear.touch[-1:] == ["regained"])


@pytest.fixture(params=KINDS)
def url(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[str]:
    with ExitStack() as stack:
        yield _address(request.param, stack, tmp_path)


def _address(kind: str, stack: ExitStack, folder: Path) -> str:
    if kind == "local":
        return ""
    if kind == "socket":
        return stack.enter_context(running_valkey()).url
    port = str(free_port())
    if kind == "password":
        stack.enter_context(
            running_valkey("--bind", "127.0.0.1", "--port", port, "--requirepass", "a secret")
        )
        return f"valkey://:a%20secret@127.0.0.1:{port}/0"
    if kind == "tls":
        server = stack.enter_context(running_valkey("--requirepass", "a secret"))
        port, _ = stack.enter_context(tls_relay(folder, str(server.socket), at_once=True))
        return f"valkeys://:a%20secret@127.0.0.1:{port}?ssl_ca_certs={folder}/tls-certificate"
    make_certificate(folder, "127.0.0.1")
    certificate, key = folder / "tls-certificate", folder / "tls-key"
    stack.enter_context(
        running_valkey(
            *("--bind", "127.0.0.1", "--tls-port", port, "--tls-auth-clients", "no"),
            *("--tls-cert-file", str(certificate), "--tls-key-file", str(key)),
            *("--tls-ca-cert-file", str(certificate)),
        )
    )
    return f"valkeys://127.0.0.1:{port}?ssl_ca_certs={certificate}"


@asynccontextmanager
async def running(made: list[End]) -> AsyncIterator[list[End]]:
    for end in made:
        await end.bus.start()
    try:
        for end in made:
            await end.in_touch()
        yield made
    finally:
        for end in made:
            await end.bus.stop()


def ends(url: str, count: int = 2, epoch: str = "e1") -> AbstractAsyncContextManager[list[End]]:
    return running([End(open_bus(url, epoch)) for _ in range(count)])


def quick_ends(server: Valkey) -> AbstractAsyncContextManager[list[End]]:
    """Two ends that notice silence at once."""
    return running([End(ValkeyBus(server.url, "e1", beat_s=0.05, patience_s=0.4)) for _ in "ab"])


async def test_the_publisher_itself_hears_at_once_and_only_once(url: str) -> None:
    async with ends(url, 1) as (one,):
        one.bus.publish([publication("ada", 1), publication("ada", 2)])
        assert [each.revision for each in one.own] == [1, 2]
        one.bus.publish([])
    assert len(one.own) == 2
    assert one.ear.heard == []


async def test_every_other_brain_hears_each_learner_in_order(url: str) -> None:
    if not url:
        pytest.skip("a bus within one process has no other brain")
    async with ends(url, 3) as (one, two, three):
        expected: dict[str, list[int]] = {}
        for revision in range(1, 101):
            for learner in ("ada", "bob", "zoë ✓"):
                one.bus.publish([publication(learner, revision)])
                expected.setdefault(learner, []).append(revision)
            await asyncio.sleep(0)
        for end in (two, three):
            await end.ear.until(lambda end=end: len(end.ear.heard) == 300)  # type: ignore[misc]
            for learner, revisions in expected.items():
                assert [n for who, n in end.ear.heard if who == learner] == revisions
        assert one.ear.heard == []


async def test_an_erasure_is_heard_as_one(url: str) -> None:
    if not url:
        pytest.skip("a bus within one process has no other brain")
    async with ends(url) as (one, two):
        one.bus.publish([publication("ada", 0)])
        await two.ear.until(lambda: two.ear.heard == [("ada", 0)])


async def test_brains_of_another_store_are_not_heard(url: str) -> None:
    if not url:
        pytest.skip("a bus within one process has no other brain")
    async with ends(url) as (one, two), ends(url, 1, epoch="e2") as (stranger,):
        stranger.bus.publish([publication("eve", 1)])
        one.bus.publish([publication("ada", 1)])
        await two.ear.until(lambda: bool(two.ear.heard))
        assert two.ear.heard == [("ada", 1)]


@pytest.mark.parametrize("wrong", ["password", "authority", "name"])
async def test_who_is_not_let_in_or_does_not_trust_the_server_hears_nothing_and_says_so(
    tmp_path: Path, wrong: str, caplog: pytest.LogCaptureFixture
) -> None:
    other = tmp_path / "other"
    other.mkdir()
    make_certificate(other, "127.0.0.1")
    authority = (other if wrong == "authority" else tmp_path) / "tls-certificate"
    password = "guessed" if wrong == "password" else "secret"
    host = "localhost" if wrong == "name" else "127.0.0.1"
    with (
        running_valkey("--requirepass", "secret") as server,
        tls_relay(tmp_path, str(server.socket), at_once=True) as (port, seen),
    ):
        right = f"valkeys://:secret@127.0.0.1:{port}?ssl_ca_certs={tmp_path}/tls-certificate"
        address = f"valkeys://:{password}@{host}:{port}?ssl_ca_certs={authority}"
        async with ends(right, 1) as (one,):
            stranger = End(open_bus(address, "e1"))
            await stranger.bus.start()
            await until(lambda: "is not reached" in caplog.text)
            one.bus.publish([publication("ada", 1)])
            await stranger.bus.stop()
    assert stranger.ear.touch == ["lost"]
    assert stranger.ear.heard == []
    assert set(seen) == {"TLSv1.3"}
    assert "secret" not in caplog.text


async def test_starting_returns_without_a_server_and_ends_too(tmp_path: Path) -> None:
    end = End(open_bus(f"unix://{tmp_path}/nobody", "e1"))
    await end.bus.start()
    end.bus.publish([publication("ada", 1)])
    assert len(end.own) == 1
    assert end.ear.touch == ["lost"]
    await end.bus.stop()


async def _lost_and_found(server: Valkey, ends: list[End], harm: Callable[[], None],
                          mend: Callable[[], Awaitable[None]]) -> None:  # fmt: skip
    one, two = ends
    seen = len(two.ear.touch)
    harm()
    await two.ear.until(lambda: "lost" in two.ear.touch[seen:])
    one.bus.publish([publication("ada", 5)])
    await mend()
    for end in ends:
        await end.ear.until(lambda end=end: end.ear.touch[-1:] == ["regained"])  # type: ignore[misc]
    one.bus.publish([publication("ada", 6)])
    await two.ear.until(lambda: ("ada", 6) in two.ear.heard)


async def test_a_server_killed_and_started_again_is_told_as_lost_touch(valkey: Valkey) -> None:
    async def start() -> None:
        await asyncio.to_thread(valkey.start)

    async with quick_ends(valkey) as both:
        await _lost_and_found(valkey, both, valkey.child.kill, start)


async def test_a_server_that_hangs_is_told_as_lost_touch(valkey: Valkey) -> None:
    async def go_on() -> None:
        valkey.child.signal(signal.SIGCONT)

    async with quick_ends(valkey) as both:
        await _lost_and_found(valkey, both, lambda: valkey.child.signal(signal.SIGSTOP), go_on)


async def test_a_message_that_is_missing_is_told(
    valkey: Valkey, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A publication that the sender could not send shows in the number of its next message."""
    async with quick_ends(valkey) as (one, two):
        assert isinstance(one.bus, ValkeyBus)
        assert isinstance(two.bus, ValkeyBus)
        one.bus.publish([publication("ada", 1)])
        await two.ear.until(lambda: bool(two.ear.heard))
        before = two.ear.touch.count("regained")
        monkeypatch.setattr(valkey_bus, "MAX_WAITING", 3)
        one.bus.publish([publication("ada", revision) for revision in range(2, 6)])
        await two.ear.until(lambda: two.ear.touch.count("regained") > before)
        assert two.bus.counters.gaps > 0
        assert one.bus.counters.dropped == 1


async def test_a_brain_that_falls_silent_is_doubted_and_one_that_says_goodbye_is_not(
    valkey: Valkey,
) -> None:
    async with quick_ends(valkey) as (one, two):
        assert isinstance(one.bus, ValkeyBus)
        assert one.bus.task is not None
        one.bus.publish([publication("ada", 1)])
        await two.ear.until(lambda: bool(two.ear.heard))
        third = End(ValkeyBus(valkey.url, "e1", beat_s=0.05, patience_s=0.4))
        await third.bus.start()
        await third.in_touch()
        third.bus.publish([publication("bob", 1)])
        await two.ear.until(lambda: ("bob", 1) in two.ear.heard)
        await third.bus.stop()
        assert isinstance(two.bus, ValkeyBus)
        doubts = two.ear.touch.count("lost")
        one.bus.publish([publication("ada", 2)])  # comes after the goodbye
        await two.ear.until(lambda: ("ada", 2) in two.ear.heard)
        assert isinstance(third.bus, ValkeyBus)
        assert one.bus.name in two.bus.others
        assert third.bus.name not in two.bus.others
        assert two.ear.touch.count("lost") == doubts
        one.bus.task.cancel()  # as one killed, or cut off from the server and at work
        await two.ear.until(lambda: two.ear.touch[-1] == "lost")


async def test_nonsense_on_a_channel_is_left_out(valkey: Valkey) -> None:
    from redis.asyncio import Redis

    async with quick_ends(valkey) as (one, two):
        assert isinstance(one.bus, ValkeyBus)
        client = Redis.from_url(valkey.url)
        for nonsense in (b"\xff", b"[]", b'{"told": 3}', b'{"from":"x","n":1,"at":1,"told":[[1]]}'):
            await client.publish(channel_names("e1")[0], nonsense)
        await client.aclose()
        one.bus.publish([publication("ada", 1)])
        await two.ear.until(lambda: two.ear.heard == [("ada", 1)])


@pytest.mark.parametrize(
    ("address", "words"),
    [
        ("localhost:6379", "must be empty or begin with"),
        ("http://localhost", "must be empty or begin with"),
        ("valkey://", "must name a server"),
        ("unix://", "must name a server"),
        ("valkey://localhost:port", "is not understood"),
    ],
)
def test_an_address_that_cannot_work_is_refused(address: str, words: str) -> None:
    wrong = check_url(address)
    assert wrong is not None
    assert words in wrong


@pytest.mark.parametrize(
    "address", ["valkey://:p@h:1/0", "valkeys://h?ssl_ca_certs=/x", "rediss://h", "unix:///x"]
)
def test_addresses_of_every_kind_are_taken(address: str) -> None:
    assert check_url(address) is None

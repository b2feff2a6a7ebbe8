"""A real engine, a real database, real requests, and receivers that fail in every way."""

from __future__ import annotations

import asyncio
import dataclasses
import json
import ssl
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest

from brain_service.engine.notices import Notice
from brain_service.engine.storage import StoreUnavailableError
from brain_service.store import SCHEMA, SqlStore
from brain_service.webhooks.commands import list_command, redeliver_command
from brain_service.webhooks.endpoints import Endpoint, Webhooks
from brain_service.webhooks.running import Running
from brain_service.webhooks.running import running as webhooks_running
from brain_service.webhooks.sending import TOGETHER
from tests.brain_service.engine.engine_support import Brain, interaction, running, submission
from tests.brain_service.store.test_store_chain import NOTHING, row
from tests.support.certificate import make_certificate
from tests.support.eventually import eventually
from tests.support.postgres import migrated
from tests.support.receiver import SECRET, Delivery, Receiver, receiving, status


@pytest.fixture
async def receiver() -> AsyncIterator[Receiver]:
    async with receiving() as receiver:
        yield receiver


@pytest.fixture
def secret(tmp_path: Path) -> str:
    file = tmp_path / "receiver.secret"
    file.write_text(SECRET + "\n")
    return str(file)


@pytest.fixture
def endpoint(receiver: Receiver, secret: str) -> Endpoint:
    return Endpoint(name="desk", url=receiver.url(), secret_file=secret, timeout_s=2.0)


def quick(*endpoints: Endpoint, **settings: Any) -> Webhooks:
    settings = {"first_retry_s": 0.05, "longest_retry_s": 0.2} | settings
    return Webhooks(endpoints=endpoints, **settings)


@asynccontextmanager
async def hooked(
    database: Path | str, webhooks: Webhooks
) -> AsyncIterator[tuple[Brain, Running, SqlStore]]:
    """Run a brain with webhooks; the outbox has a store of its own, as in another brain."""
    store = await SqlStore.open(database)
    try:
        async with webhooks_running(webhooks, store.outbox) as hooks:
            assert hooks is not None
            async with running(database, clock=time.time, notifier=hooks.messages) as brain:
                yield brain, hooks, store
    finally:
        await store.close()


async def fail(brain: Brain, learner_id: str, *, count: int = 4, start: int = 0) -> None:
    """Answer wrong so often that somebody should look."""
    for number in range(start, start + count):
        wrong = interaction(f"{number} + 1?", correct=False)
        await brain.apply(submission(learner_id, f"{learner_id}-w{number}", interaction=wrong))


async def recover(brain: Brain, learner_id: str, *, start: int = 0) -> None:
    """Answer right until nobody needs to look."""
    for number in range(start, start + 2):
        right = interaction(f"{number} + 1?", correct=True)
        await brain.apply(submission(learner_id, f"{learner_id}-r{number}", interaction=right))


def told(deliveries: list[Delivery]) -> list[tuple[str, str, int]]:
    return [(one.content["type"], one.learner_id, one.revision) for one in deliveries]


async def test_attention_that_begins_and_ends_is_told_signed_and_by_id_only(
    address: str, receiver: Receiver, endpoint: Endpoint
) -> None:
    database = address if address.startswith("sqlite") else migrated(address, SCHEMA)
    async with hooked(database, quick(endpoint)) as (brain, hooks, store):
        await fail(brain, "ada")
        await recover(brain, "ada")
        began, ended = await receiver.arrived(2)

        assert began.is_genuine
        assert ended.is_genuine
        assert began.content | {"timestamp": ""} == {
            "type": "attention.began",
            "timestamp": "",
            "data": {"learner_id": "ada", "revision": 4, "level": "look", "reasons": ["stuck"]},
        }
        assert began.content["timestamp"].endswith("Z")
        assert ended.content["data"] == {
            **{"learner_id": "ada", "revision": ended.revision, "level": "none", "reasons": []}
        }
        assert began.headers["content-type"] == "application/json"
        assert began.message_id != ended.message_id
        assert abs(int(began.headers["webhook-timestamp"]) - time.time()) < 60
        await eventually(store.outbox.backlog, lambda left: not left)
    assert hooks.counters.delivered == {"desk": 2}
    assert not +hooks.counters.faults


async def test_an_endpoint_hears_of_its_learners_events_and_level_only(
    tmp_path: Path, receiver: Receiver, endpoint: Endpoint
) -> None:
    ids = tmp_path / "class-7a"
    ids.write_text("ada\n")
    some = dataclasses.replace(endpoint, name="class", learners_file=str(ids))
    ends = dataclasses.replace(
        endpoint, name="ends", url=receiver.url("/ends"), events=("attention.ended",)
    )
    soon = dataclasses.replace(endpoint, name="now", url=receiver.url("/now"), level="now")
    async with hooked(tmp_path / "brain.db", quick(some, ends, soon)) as (brain, hooks, _):
        await fail(brain, "ada", count=7)
        await fail(brain, "ben", count=9)
        await recover(brain, "ada")
        await receiver.arrived(6)
        ids.write_text("ben\n")
        hooks.messages.reload()
        await recover(brain, "ben")
        these = await receiver.arrived(9)

    def by_path(path: str) -> list[tuple[str, str]]:
        found = [(one.content["type"], one.learner_id) for one in these if one.path == path]
        return sorted(found, key=lambda pair: pair[1])

    began, ended = "attention.began", "attention.ended"
    assert by_path("/hook") == [(began, "ada"), (ended, "ada"), (ended, "ben")]
    assert by_path("/ends") == [(ended, "ada"), (ended, "ben")]
    assert by_path("/now") == [(began, "ada"), (ended, "ada"), (began, "ben"), (ended, "ben")]
    assert {one.content["data"]["level"] for one in these if one.path == "/now"} > {"now"}


async def test_what_happened_long_ago_is_not_told(
    tmp_path: Path, receiver: Receiver, endpoint: Endpoint
) -> None:
    """A year of statements that comes in late rings no bell."""
    async with hooked(tmp_path / "brain.db", quick(endpoint, max_age_s=3600)) as (brain, _, store):
        before = int((time.time() - 7200) * 1000)
        for number in range(4):
            wrong = interaction(f"{number}?", correct=False)
            await brain.apply(
                submission("ada", f"i{number}", interaction=wrong, occurred_at_ms=before)
            )
        await fail(brain, "ben", count=9)
        assert {one.learner_id for one in await receiver.arrived(1)} == {"ben"}
        assert await store.notices_of("ada") == []


@pytest.mark.parametrize(
    ("bad", "fault"),
    [
        (status(500), "broken"),
        (status(503, "retry-after: 0"), "broken"),
        (status(429), "refused"),
        (status(404), "refused"),
        (status(307, "location: http://127.0.0.1:1/elsewhere"), "redirect"),
        (b"nonsense\r\n\r\n", "unreachable"),
        (b"", "unreachable"),
        (None, "timeout"),
    ],
    ids=["500", "503", "429", "404", "redirect", "nonsense", "hang-up", "silence"],
)
async def test_what_is_not_taken_is_sent_again_under_the_same_id(
    tmp_path: Path, receiver: Receiver, endpoint: Endpoint, bad: bytes | None, fault: str
) -> None:
    def answers(delivery: Delivery) -> bytes | None:
        if len(receiver.deliveries) <= 2:
            return bad
        return status(200, body=b"thanks")

    receiver.answers = answers
    hasty = dataclasses.replace(endpoint, timeout_s=0.3)
    async with hooked(tmp_path / "brain.db", quick(hasty)) as (brain, hooks, store):
        await fail(brain, "ada")
        these = await receiver.arrived(3)
        await eventually(store.outbox.backlog, lambda left: not left)

    assert len({one.message_id for one in these}) == 1
    assert len({one.body for one in these}) == 1
    assert all(one.is_genuine for one in these)
    assert {one.path for one in these} == {"/hook"}
    assert +hooks.counters.faults == {("desk", fault): 2}


async def test_a_receiver_that_says_it_is_gone_is_asked_no_more_and_no_message_is_lost(
    tmp_path: Path, receiver: Receiver, endpoint: Endpoint, secret: str
) -> None:
    receiver.answers = lambda _: status(410)
    database = tmp_path / "brain.db"
    async with receiving() as other:
        stays = Endpoint(name="chat", url=other.url(), secret_file=secret, timeout_s=2.0)
        async with hooked(database, quick(endpoint, stays)) as (brain, hooks, store):
            await fail(brain, "ada")
            await receiver.arrived(1)
            await other.arrived(1)
            await fail(brain, "ben", count=9)
            await other.arrived(2)

            async def gone() -> int:
                return hooks.counters.faults["desk", "gone"]

            await eventually(gone, lambda count: count == 1)
            assert len(receiver.deliveries) == 1
            assert (await store.outbox.backlog())["desk"].waiting == 2
    receiver.answers = lambda _: status(204)
    async with hooked(database, quick(endpoint)) as (_, _, store):
        # Whoever starts the brain again says that it is there again.
        await receiver.until(lambda these: len({one.learner_id for one in these}) == 2)
        await eventually(store.outbox.backlog, lambda left: not left.get("desk"))


async def test_an_answer_without_end_is_not_read(
    tmp_path: Path, receiver: Receiver, endpoint: Endpoint
) -> None:
    head = b"HTTP/1.1 200 OK\r\ncontent-length: 100000000\r\n\r\n"
    receiver.answers = lambda _: head + bytes(200_000)
    async with hooked(tmp_path / "brain.db", quick(endpoint)) as (brain, hooks, store):
        await fail(brain, "ada")
        await receiver.arrived(1)
        await eventually(store.outbox.backlog, lambda left: not left)
    assert hooks.counters.delivered == {"desk": 1}


@asynccontextmanager
async def delivering(
    database: Path | str, webhooks: Webhooks
) -> AsyncIterator[tuple[SqlStore, Running]]:
    """Deliver what a test puts into the outbox itself."""
    store = await SqlStore.open(database)
    try:
        async with webhooks_running(webhooks, store.outbox) as hooks:
            assert hooks is not None
            yield store, hooks
    finally:
        await store.close()


async def put(store: SqlStore, learner_id: str, *endpoints: str, count: int = 1) -> None:
    """Commit interactions of a new learner, each with a message for each endpoint."""
    key = 0
    for revision in range(1, count + 1):
        content = {
            "type": "attention.began",
            "data": {"learner_id": learner_id, "revision": revision},
        }
        body = json.dumps(content).encode()
        now_ms = int(time.time() * 1000)
        notices = [
            Notice(name, learner_id, f"msg_{name}-{learner_id}-{revision}", now_ms, body)
            for name in endpoints
        ]
        keys = await store.commit([row(learner_id, key, revision)], NOTHING, notices)
        key = keys.get(learner_id, key)


async def test_a_cookie_is_neither_kept_nor_sent_back(
    tmp_path: Path, receiver: Receiver, endpoint: Endpoint
) -> None:
    receiver.answers = lambda _: status(204, f"set-cookie: c{len(receiver.deliveries)}=1")
    async with delivering(tmp_path / "brain.db", quick(endpoint)) as (store, _):
        await put(store, "ada", "desk", count=3)
        these = await receiver.arrived(3)
    assert not [one for one in these if "cookie" in one.headers]


async def test_a_learners_messages_arrive_in_order_though_each_fails_at_first(
    tmp_path: Path, receiver: Receiver, endpoint: Endpoint
) -> None:
    seen: set[str] = set()

    def refuse_first(delivery: Delivery) -> bytes:
        new = delivery.message_id not in seen
        seen.add(delivery.message_id)
        return status(500) if new else status(204)

    receiver.answers = refuse_first
    async with delivering(tmp_path / "brain.db", quick(endpoint)) as (store, _):
        await asyncio.gather(*(put(store, name, "desk", count=4) for name in ("ada", "ben", "cho")))
        await receiver.arrived(24)
        await eventually(store.outbox.backlog, lambda left: not left)

    for name in ("ada", "ben", "cho"):
        mine = [one.revision for one in receiver.deliveries if one.learner_id == name]
        assert mine == [1, 1, 2, 2, 3, 3, 4, 4]


async def test_a_slow_endpoint_does_not_keep_others_waiting(
    tmp_path: Path, receiver: Receiver, endpoint: Endpoint
) -> None:
    slow = dataclasses.replace(endpoint, name="slow", url=receiver.url("/slow"))
    receiver.answers = lambda one: None if one.path == "/slow" else status(204)
    async with delivering(tmp_path / "brain.db", quick(slow, endpoint)) as (store, hooks):
        for number in range(30):
            await put(store, f"l{number}", "slow", "desk")
        await receiver.until(lambda these: sum(one.path == "/hook" for one in these) == 30)
        assert (await store.outbox.backlog())["slow"].waiting == 30
    assert receiver.most_open <= 2 * TOGETHER
    assert hooks.counters.delivered == {"slow": 0, "desk": 30}


async def test_what_is_too_old_becomes_a_dead_letter_and_can_be_sent_after_all(
    tmp_path: Path, receiver: Receiver, endpoint: Endpoint
) -> None:
    receiver.answers = lambda _: status(500)
    lines: list[str] = []
    async with hooked(tmp_path / "brain.db", quick(endpoint, max_age_s=0.5)) as (
        brain,
        hooks,
        store,
    ):
        await fail(brain, "ada")

        async def dead() -> int:
            return len(await store.outbox.dead(limit=9))

        await eventually(dead, lambda count: count == 1)
        await list_command(store.outbox, lines.append)
        attempts = len(receiver.deliveries)
        receiver.answers = lambda _: status(204)
        sentence = await redeliver_command(store.outbox, [])
        await receiver.arrived(attempts + 1)
        await eventually(store.outbox.backlog, lambda left: not left)

    assert lines[0] == "desk: 0 waiting; 1 dead letters"
    [name, *words] = lines[1].split()
    assert " ".join(words[:3]) == "desk attention.began ada"
    assert lines[1].endswith(f"after {attempts} attempts: answered 500")
    assert sentence == "1 dead letters wait for delivery again."
    assert {one.message_id for one in receiver.deliveries} == {name}
    assert hooks.counters.given_up == 1


async def test_a_receiver_that_is_away_is_told_when_it_is_back(tmp_path: Path, secret: str) -> None:
    async with receiving() as gone:
        port = gone.port
    away = Endpoint(name="desk", url=f"http://127.0.0.1:{port}/hook", secret_file=secret)
    async with hooked(tmp_path / "brain.db", quick(away)) as (brain, hooks, _):
        await fail(brain, "ada")

        async def faults() -> int:
            return hooks.counters.faults["desk", "unreachable"]

        await eventually(faults, lambda count: count >= 2)
        async with receiving(port=port) as back:
            assert told(await back.arrived(1)) == [("attention.began", "ada", 4)]


async def test_two_brains_send_each_message_once_and_one_goes_on_for_the_other(
    address: str, receiver: Receiver, endpoint: Endpoint
) -> None:
    database = address if address.startswith("sqlite") else migrated(address, SCHEMA)
    async with delivering(database, quick(endpoint)) as (one, _):
        async with delivering(database, quick(endpoint)) as (two, _):
            for number in range(20):
                await put(one if number % 2 else two, f"l{number}", "desk")
            await receiver.arrived(20)
            await eventually(one.outbox.backlog, lambda left: not left)
            assert len(receiver.deliveries) == 20
        # Whichever had the lease: the other one has it now.
        await put(one, "later", "desk")
        assert (await receiver.arrived(21))[-1].learner_id == "later"


async def test_a_certificate_must_be_trusted(tmp_path: Path, secret: str) -> None:
    make_certificate(tmp_path, "127.0.0.1")
    tls = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    tls.load_cert_chain(tmp_path / "tls-certificate", tmp_path / "tls-key")
    async with receiving(tls=tls) as receiver:
        strange = Endpoint(name="strange", url=receiver.url(scheme="https"), secret_file=secret)
        known = dataclasses.replace(
            strange, name="known", ca_file=str(tmp_path / "tls-certificate")
        )
        async with hooked(tmp_path / "brain.db", quick(strange, known)) as (brain, hooks, _):
            await fail(brain, "ada")
            await receiver.arrived(1)

            async def faults() -> int:
                return hooks.counters.faults["strange", "unreachable"]

            await eventually(faults, lambda count: count >= 1)
    assert hooks.counters.delivered == {"strange": 0, "known": 1}


async def test_whoever_was_erased_is_not_told_of_any_more(
    tmp_path: Path, receiver: Receiver, endpoint: Endpoint
) -> None:
    receiver.answers = lambda _: status(500)
    async with hooked(tmp_path / "brain.db", quick(endpoint)) as (brain, _, store):
        await fail(brain, "ada")
        await receiver.arrived(1)
        await brain.engine.erase("ada", "a parent")
        receiver.answers = lambda _: status(204)
        before = len(receiver.deliveries)
        await fail(brain, "ben", count=9)
        await receiver.until(lambda these: these[-1].learner_id == "ben")
        assert "ada" not in {one.learner_id for one in receiver.deliveries[before:]}
        assert await store.notices_of("ada") == []


async def test_a_store_that_is_away_only_delays(
    tmp_path: Path, receiver: Receiver, endpoint: Endpoint, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with hooked(tmp_path / "brain.db", quick(endpoint)) as (brain, _, store):
        outbox, asked = store.outbox, asyncio.Event()

        async def away(*_: object, **__: object) -> list[Any]:
            asked.set()
            raise StoreUnavailableError("the disk is on holiday")

        with monkeypatch.context() as patched:
            patched.setattr(outbox, "due", away)
            await fail(brain, "ada")
            async with asyncio.timeout(10):
                await asked.wait()
        assert told(await receiver.arrived(1)) == [("attention.began", "ada", 4)]

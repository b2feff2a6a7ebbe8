"""A replay sends a log in order, within the limits, and loses nothing whatever happens to the
connection.
"""

from __future__ import annotations

import asyncio
import json

import pytest

from demo.users import Person
from harness.client import FixedToken, RefusedError
from tests.replay.__main__ import auth_beside
from tests.replay.fake_server import FakeServer, Trouble
from tests.replay.lane import Bucket, GaveUpError, Pace, Tally
from tests.replay.log import Entry, rfc3339
from tests.replay.report import Report, latency_ms
from tests.replay.run import NobodyMayError, replay, senders

WAIT_S = 30.0


def entry(line: int, learner: str = "ann", at_s: float = 0.0) -> Entry:
    data = {
        "learner_id": learner,
        "type": "content_view",
        "content": f"page {line}",
        "interaction_id": f"i-{line:04}",
        "occurred_at": rfc3339(at_s),
    }
    return Entry(line=line, at_s=at_s, learner_id=learner, interaction_id=f"i-{line:04}", data=data)


def log(count: int, learners: int = 1) -> list[Entry]:
    return [entry(line, f"learner-{line % learners}") for line in range(count)]


def ids(entries: list[Entry]) -> list[str]:
    return [one.interaction_id for one in entries]


async def play(server: FakeServer, entries: list[Entry], **options) -> Report:
    tokens = dict.fromkeys((one.learner_id for one in entries), FixedToken("token"))
    async with asyncio.timeout(WAIT_S):
        return await replay(entries, ws_url=server.url, tokens=tokens, **options)


async def test_everything_is_sent_once_in_file_order_with_its_own_time():
    entries = [entry(line, f"learner-{line % 3}", 1_500_000_000 + line) for line in range(50)]
    async with FakeServer().running() as server:
        report = await play(server, entries)

    assert server.applied == ids(entries)
    assert server.data["i-0007"]["occurred_at"] == "2017-07-14T02:40:07.000Z"
    assert report.complete
    assert (report.tally.sent, report.tally.resent, report.tally.duplicates) == (50, 0, 0)
    assert {learner: state["revision"] for learner, state in report.states.items()} == {
        "learner-0": 17,
        "learner-1": 17,
        "learner-2": 16,
    }


async def test_a_second_replay_is_all_duplicates():
    entries = log(20)
    async with FakeServer().running() as server:
        await play(server, entries)
        report = await play(server, entries)

    assert report.complete
    assert report.tally.duplicates == 20
    assert len(server.applied) == 20


async def test_several_sockets_keep_the_order_of_each_learner():
    entries = log(60, learners=5)
    async with FakeServer().running() as server:
        report = await play(server, entries, sockets=4)

    assert report.complete
    for learner in report.states:
        mine = [one.interaction_id for one in entries if one.learner_id == learner]
        assert [one for one in server.applied if one in set(mine)] == mine


async def test_as_many_are_in_flight_as_the_server_allows_and_no_more():
    server = FakeServer(limits={"in_flight": 3})
    server.answer_when_waiting = 3
    async with server.running():
        report = await play(server, log(30))

    assert report.complete
    assert server.most_in_flight == 3


async def test_what_was_in_flight_when_the_connection_broke_is_sent_again_and_applied_once():
    entries = log(40, learners=2)
    async with FakeServer(trouble=Trouble(break_after={7, 23})).running() as server:
        report = await play(server, entries)

    assert report.complete
    assert report.tally.reconnects == 2
    assert report.tally.resent > 0
    assert report.tally.duplicates >= 2
    assert server.applied == ids(entries)
    assert report.tally.revisions == server.revisions


async def test_a_draining_server_is_left_and_found_again():
    entries = log(20)
    async with FakeServer(trouble=Trouble(drain_after=5)).running() as server:
        report = await play(server, entries)

    assert report.complete
    assert server.applied == ids(entries)


async def test_a_retryable_error_is_sent_again_when_all_answers_are_in():
    entries = log(20)
    async with FakeServer(trouble=Trouble(refuse_for_now={"i-0004"})).running() as server:
        report = await play(server, entries)

    assert report.complete
    assert report.tally.retryable == {"unavailable": 1}
    assert report.tally.resent == 1


async def test_a_refusal_is_counted_told_and_not_repeated():
    entries = log(5)
    async with FakeServer(trouble=Trouble(refuse_for_good={"i-0002"})).running() as server:
        report = await play(server, entries)

    assert not report.complete
    assert report.tally.errors == {"bad_request": 1}
    assert report.tally.examples == ["line 2 (learner-0): bad_request: wrong"]
    assert "i-0002" not in server.applied


async def test_stopping_waits_for_answers_under_way_and_reports_what_was_done():
    stop = asyncio.Event()
    stop_at = 10

    def progress(tally: Tally, total: int) -> None:
        if tally.acknowledged >= stop_at:
            stop.set()

    async with FakeServer(limits={"frames_per_second": 100, "burst": 2}).running() as server:
        report = await play(server, log(1000), stop=stop, progress=progress)

    assert report.interrupted
    assert stop_at <= report.tally.acknowledged < 1000
    assert report.tally.acknowledged == report.tally.sent == len(server.applied)


@pytest.mark.parametrize(
    "trouble",
    [
        Trouble(refuse_for_now={"i-0004"}),
        Trouble(break_after={5}),
        Trouble(drain_after=5),
    ],
    ids=["refused for now", "connection broken", "drained"],
)
async def test_what_was_sent_when_it_stopped_is_acknowledged_even_if_it_must_be_sent_again(
    trouble: Trouble,
):
    """It may be stored already: a tally of sent and acknowledged would tell of a loss."""
    async with FakeServer(trouble=trouble).running() as server:
        report = await play(server, log(1000), stop=trouble.struck)

    assert report.interrupted
    assert 5 <= report.tally.sent < 1000
    assert report.tally.acknowledged == report.tally.sent == len(server.applied)


async def test_a_server_that_is_not_there_is_given_up():
    async with FakeServer().running() as server:
        pass
    told = set()
    with pytest.raises(GaveUpError, match="no answer for"):
        await play(
            server, log(1), patience_s=0.3, progress=lambda tally, total: told.add(tally.trouble)
        )

    assert any("refused" in trouble.lower() or "connect" in trouble.lower() for trouble in told)


async def test_a_token_is_replaced_before_it_expires():
    soon = Trouble(expires_at=rfc3339(0))
    async with FakeServer(
        limits={"frames_per_second": 10, "burst": 2}, trouble=soon
    ).running() as server:
        report = await play(server, log(14))

    assert report.complete
    assert (
        len(server.tokens) >= 3
    )  # two connections (replay and final states) and at least one renewal
    assert server.applied == ids(log(14))


@pytest.mark.parametrize(
    ("pace", "offsets"),
    [
        (Pace(1.0), [0, 10, 10, 110]),
        (Pace(10.0), [0, 1, 1, 11]),
        (Pace(1.0, 20.0), [0, 10, 10, 30]),
        (Pace(None), []),
    ],
)
def test_pace_follows_the_logs_times_and_does_not_wait_where_they_jump_back(
    pace: Pace, offsets: list[float]
):
    entries = [entry(0, at_s=1000), entry(1, at_s=1010), entry(2, at_s=500), entry(3, at_s=600)]

    assert offsets == pytest.approx(list(pace.offsets(entries).values()))


def test_a_bucket_never_lets_more_through_than_the_limit():
    now = 0.0
    bucket = Bucket({"frames_per_second": 50, "burst": 100}, lambda: now)
    times = []
    for _ in range(500):
        now += bucket.delay_s()
        bucket.take()
        times.append(now)

    for first in range(0, 500, 7):
        for last in range(first, 500, 11):
            assert last - first + 1 <= 100 + 50 * (times[last] - times[first])


def test_percentiles_are_exact_by_nearest_rank():
    values = latency_ms([n / 1000 for n in range(1, 101)])

    assert values == {"mean": 50.5, "p50": 50, "p90": 90, "p95": 95, "p99": 99, "max": 100}
    assert latency_ms([]) == {}


def test_a_report_reads_as_text_and_as_json():
    report = Report(
        interactions=2,
        seconds=0.5,
        interrupted=False,
        tally=Tally(sent=2, acknowledged=1, errors={"forbidden": 1}, latencies_s=[0.001]),
        states={
            "ann": {
                "revision": 1,
                "epoch": "e",
                "state": {"cognitive_load": 0.5},
                "performance": None,
            }
        },
    )

    assert json.loads(json.dumps(report.as_json()))["learners"]["ann"]["revision"] == 1
    assert "1 forbidden" in report.as_text()
    assert "0.5000" in report.as_text()


def person(role: str, *learners: str) -> Person:
    return Person(
        email=f"{role}@x.example", password="p", role=role, user_id="u", learners=learners
    )


def test_an_admin_sends_for_everyone():
    tokens = senders(
        "http://x", [person("learner", "learner-0"), person("admin")], log(4, learners=2)
    )

    assert len(set(map(id, tokens.values()))) == 1


def test_without_an_admin_each_learner_sends_and_a_missing_one_is_named():
    people = [person("learner", "learner-0"), person("teacher", "learner-1")]

    assert set(senders("http://x", people, log(1))) == {"learner-0"}
    with pytest.raises(NobodyMayError, match="learner-1"):
        senders("http://x", people, log(2, learners=2))


async def test_a_fixed_token_that_is_not_accepted_ends_the_replay_at_once():
    class Distrustful(FakeServer):
        async def authenticate(self, connection, frame) -> None:
            await connection.close(4401, "bad token")

    async with Distrustful().running() as server:
        with pytest.raises(RefusedError, match="not valid"):
            await play(server, log(1))


async def test_an_account_whose_token_is_not_accepted_gets_another():
    class Renewing(FixedToken):
        async def token(self) -> str:
            return self._token

        def rejected(self) -> None:
            self._token = "new"

    class Picky(FakeServer):
        async def authenticate(self, connection, frame) -> None:
            if frame["token"] == "old":
                await connection.close(4401, "expired")
            else:
                await super().authenticate(connection, frame)

    async with Picky().running() as server:
        report = await replay(log(3), ws_url=server.url, tokens={"learner-0": Renewing("old")})

    assert report.complete


async def test_a_server_that_closes_for_good_ends_the_replay():
    class Closing(FakeServer):
        async def authenticate(self, connection, frame) -> None:
            await connection.close(4403, "revoked")

    async with Closing().running() as server:
        with pytest.raises(RefusedError, match="4403"):
            await play(server, log(1))


@pytest.mark.parametrize(
    ("url", "auth"),
    [("ws://127.0.0.1:8000/ws", "127.0.0.1:8002"), ("ws://localhost:9000/ws", "localhost:9002")],
)
def test_learners_are_made_where_make_run_has_its_auth_service(url: str, auth: str) -> None:
    assert auth_beside(url) == auth

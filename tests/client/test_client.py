"""The client against the real services, while they die and come back."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Iterator

import pytest

from aivo_client import AivoClient, AivoError, ClosedError, Config, Waiting
from aivo_client.rooms import MOST_UNHEARD
from aivo_client.watching import MOST_WAITING
from harness.stack import private_stack
from tests.support.ledger import history
from tests.support.school import School, found_school

pytestmark = pytest.mark.system

QUICK = Config(min_delay_s=0.05, max_delay_s=0.5)
PATIENCE_S = 60.0


@pytest.fixture(scope="module")
def school() -> Iterator[School]:
    env = {"EDGE_FRAMES_PER_S": "0", "EDGE_USER_UNITS_PER_S": "0", "EDGE_CONNECTIONS_PER_S": "0"}
    with private_stack(env=env) as stack:
        yield found_school(stack)


@pytest.fixture
async def teacher(school: School) -> AsyncIterator[AivoClient]:
    async with client(school, "teacher") as opened:
        yield opened


def client(school: School, name: str, **more: object) -> AivoClient:
    async def token() -> str:
        return await asyncio.to_thread(school.token, name)

    return AivoClient(school.stack.ws_url, token=token, config=QUICK, **more)  # type: ignore[arg-type]


def practice(learner: str, number: int = 0) -> dict[str, object]:
    return {
        "learner_id": learner,
        "type": "practice",
        "content": f"question {number}",
        "context": {"correct": number % 3 > 0, "skill": "fractions"},
    }


async def logged(school: School, learner: str) -> list[str]:
    token = await asyncio.to_thread(school.token, "admin")
    entries = await asyncio.to_thread(history, school, learner, token)
    return [entry["interaction_id"] for entry in entries]


async def test_nothing_is_lost_or_doubled_while_everything_dies(school: School) -> None:
    learner = await asyncio.to_thread(school.add_learner, "c-1")
    stack = school.stack
    async with (
        asyncio.timeout(PATIENCE_S),
        client(school, "c-1") as pupil,
        client(school, "teacher") as teacher,
        teacher.watch(learner, mode="every") as watch,
    ):
        sent = [pupil.interact(practice(learner))]  # type: ignore[arg-type]
        assert (await anext(watch))["revision"] == 1
        for name in ("edge", "brain", "auth", "edge"):
            sent += [pupil.interact(practice(learner, n)) for n in range(15)]  # type: ignore[arg-type]
            await asyncio.to_thread(stack.kill, name)
            sent += [pupil.interact(practice(learner, n)) for n in range(15)]  # type: ignore[arg-type]
            await asyncio.to_thread(stack.start, name)
        answers = await asyncio.gather(*sent)
        shown = [1]
        async for update in watch:
            shown.append(update["revision"])
            if update["revision"] == len(sent):
                break

    assert sorted(answer["revision"] for answer in answers) == list(range(1, len(sent) + 1))
    ids = await logged(school, learner)
    assert sorted(ids) == sorted(answer["interaction_id"] for answer in answers)
    assert shown == list(range(1, len(sent) + 1))


async def test_a_slow_reader_of_every_revision_gets_them_from_the_log(
    school: School, teacher: AivoClient
) -> None:
    learner = await asyncio.to_thread(school.add_learner, "c-2")
    count = 2 * MOST_WAITING + 50
    async with (
        asyncio.timeout(PATIENCE_S),
        client(school, "c-2") as pupil,
        teacher.watch(learner, mode="every") as watch,
    ):
        await pupil.interact(practice(learner))  # type: ignore[arg-type]
        assert (await anext(watch))["revision"] == 1
        await asyncio.gather(
            *(pupil.interact(practice(learner, n)) for n in range(1, count))  # type: ignore[arg-type]
        )
        shown = [(await anext(watch))["revision"] for _ in range(1, count)]

    assert shown == list(range(2, count + 1))


async def test_the_latest_is_what_a_slow_reader_gets_and_a_second_one_at_once(
    school: School, teacher: AivoClient
) -> None:
    learner = await asyncio.to_thread(school.add_learner, "c-3")
    async with (
        asyncio.timeout(PATIENCE_S),
        client(school, "c-3") as pupil,
        teacher.watch(learner) as watch,
    ):
        for number in range(5):
            await pupil.interact(practice(learner, number))  # type: ignore[arg-type]
        update = await anext(watch)
        while update["revision"] < 5:
            update = await anext(watch)
        async with teacher.watch(learner) as second:
            assert (await anext(second))["revision"] == 5
        state = await teacher.get_state(learner)
        assert (state["revision"], state["state"]) == (5, update["state"])


async def test_who_may_not_hears_it(school: School) -> None:
    async with asyncio.timeout(PATIENCE_S), client(school, "stranger") as stranger:
        with pytest.raises(AivoError) as refused:
            await stranger.interact(practice("ada"))  # type: ignore[arg-type]
        assert refused.value.code == "forbidden"
        with pytest.raises(AivoError, match=r".") as denied:
            await anext(stranger.watch("ada"))
        assert denied.value.code == "forbidden"
        with pytest.raises(AivoError):
            await stranger.get_state("ada")
        async with stranger.room("class:5a") as heard:
            with pytest.raises(AivoError):
                await anext(heard)


async def test_people_talk_in_a_room_through_a_restart(school: School, teacher: AivoClient) -> None:
    async with (
        asyncio.timeout(PATIENCE_S),
        client(school, "ada") as ada,
        ada.room("class:5a") as heard,
        teacher.room("class:5a") as also,
    ):
        assert (await anext(heard))["type"] == "room_joined"
        assert (await anext(also))["type"] == "room_joined"
        await asyncio.to_thread(school.stack.restart, "edge")
        said = 0
        while True:
            said += 1
            if ada.is_open and teacher.is_open:
                teacher.say("class:5a", {"text": f"hello {said}"})
            try:
                async with asyncio.timeout(0.2):
                    frame = await anext(heard)
            except TimeoutError:  # said while not everybody was back: said again
                continue
            if frame["type"] == "room_message":
                break
        assert frame["data"]["text"].startswith("hello")


async def test_who_stops_waiting_in_a_room_hears_what_is_said_later(
    school: School, teacher: AivoClient
) -> None:
    async with (
        asyncio.timeout(PATIENCE_S),
        client(school, "ada") as ada,
        ada.room("class:5a") as heard,
    ):
        assert (await anext(heard))["type"] == "room_joined"
        impatient = asyncio.ensure_future(anext(heard))
        await asyncio.sleep(0)
        impatient.cancel()
        await asyncio.wait((impatient,))
        assert impatient.cancelled()
        async with teacher.room("class:5a"):
            assert (await anext(heard))["type"] == "user_joined"


async def test_who_stops_waiting_for_an_update_gets_it_later(
    school: School, teacher: AivoClient
) -> None:
    learner = await asyncio.to_thread(school.add_learner, "c-5")
    async with (
        asyncio.timeout(PATIENCE_S),
        client(school, "c-5") as pupil,
        teacher.watch(learner) as watch,
    ):
        impatient = asyncio.ensure_future(anext(watch))
        await asyncio.sleep(0)
        impatient.cancel()
        await asyncio.wait((impatient,))
        await pupil.interact(practice(learner))  # type: ignore[arg-type]
        assert (await anext(watch))["revision"] == 1


async def test_a_room_that_nobody_listens_to_keeps_the_newest(teacher: AivoClient) -> None:
    async with asyncio.timeout(PATIENCE_S), teacher.room("class:5a") as heard:
        for number in range(MOST_UNHEARD + 9):
            heard.take({"type": "room_message", "room_id": "class:5a", "number": number})
        waiting = [await anext(heard) for _ in range(MOST_UNHEARD)]
    assert (waiting[0]["number"], waiting[-1]["number"]) == (9, MOST_UNHEARD + 8)
    with pytest.raises(StopAsyncIteration):
        await anext(heard)


async def test_a_client_closed_for_good_lets_nobody_wait(school: School) -> None:
    async with asyncio.timeout(PATIENCE_S):
        pupil = client(school, "ada")
        await pupil.connect()
        await pupil.close()
        for wait in (
            pupil.interact(practice("ada")),  # type: ignore[arg-type]
            anext(pupil.watch("ada")),
            anext(pupil.room("class:5a")),
        ):
            with pytest.raises(ClosedError):
                await wait


async def test_a_token_is_replaced_without_a_new_connection(
    school: School, teacher: AivoClient
) -> None:
    before = teacher.established
    async with asyncio.timeout(PATIENCE_S):
        teacher.token_changed()
        assert (await teacher.get_state("ada"))["learner_id"] == "ada"
        await asyncio.sleep(0)
        assert teacher.established is before


async def test_no_token_is_a_clear_end(school: School) -> None:
    nobody = AivoClient(
        school.stack.ws_url,
        token="nobody",
        config=Config(min_delay_s=0.01, max_delay_s=0.02, max_attempts=2),
    )
    async with asyncio.timeout(PATIENCE_S):
        with pytest.raises(ClosedError) as closed:
            await nobody.connect()
        await nobody.close()
    assert closed.value.code in ("no_token", "connection_lost")


async def test_a_fixed_token_that_is_refused_ends_it(school: School) -> None:
    nobody = AivoClient(school.stack.ws_url, token="nobody", config=QUICK)
    async with asyncio.timeout(PATIENCE_S):
        with pytest.raises(ClosedError) as closed:
            await nobody.connect()
        await nobody.close()
    assert closed.value.code == "no_token"


async def test_who_keeps_tokens_hears_that_one_is_refused(school: School) -> None:
    kept = ["revoked", school.token("ada")]
    pupil = AivoClient(
        school.stack.ws_url,
        token=lambda: kept[0],
        token_refused=lambda: kept.remove("revoked"),
        config=QUICK,
    )
    async with asyncio.timeout(PATIENCE_S), pupil:
        assert (await pupil.get_state("ada"))["learner_id"] == "ada"


async def test_whoever_gives_tokens_may_end_it(school: School) -> None:
    def token() -> str:
        raise ClosedError("refused", "The password is wrong.")

    async with asyncio.timeout(PATIENCE_S):
        with pytest.raises(ClosedError, match="password is wrong"):
            async with AivoClient(school.stack.ws_url, token=token):
                pass


async def test_connecting_what_is_connected_changes_nothing(teacher: AivoClient) -> None:
    async with asyncio.timeout(PATIENCE_S):
        await teacher.connect()
    assert teacher.is_open


class Shelf:
    """A store in memory that outlives clients."""

    def __init__(self) -> None:
        self.items: dict[str, Waiting] = {}

    def load(self) -> list[Waiting]:
        return list(self.items.values())

    def save(self, item: Waiting) -> None:
        self.items[item.id] = item

    def remove(self, id: str) -> None:
        self.items.pop(id, None)


async def test_what_waited_is_sent_by_the_next_process(school: School) -> None:
    learner = await asyncio.to_thread(school.add_learner, "c-4")
    shelf = Shelf()
    offline = client(school, "c-4", store=shelf)
    waiting = offline.interact(practice(learner))  # type: ignore[arg-type]
    await offline.close()
    with pytest.raises(ClosedError):
        await waiting
    (kept,) = shelf.items

    async with asyncio.timeout(PATIENCE_S), client(school, "c-4", store=shelf):
        while shelf.items:  # noqa: ASYNC110 - that it is forgotten is what we wait for
            await asyncio.sleep(0.01)
    assert await logged(school, learner) == [kept]


async def test_an_interaction_that_is_too_large_is_refused_here(teacher: AivoClient) -> None:
    with pytest.raises(AivoError) as refused:
        await teacher.interact({"learner_id": "ada", "type": "practice", "content": "x" * 70_000})
    assert refused.value.code == "too_big"
    assert teacher.is_open


async def test_a_server_that_is_not_there_is_waited_for(school: School) -> None:
    late = client(school, "teacher")
    await asyncio.to_thread(school.stack.stop, "edge")
    connecting = asyncio.create_task(late.connect())
    await asyncio.sleep(0.2)
    assert not connecting.done()
    await asyncio.to_thread(school.stack.start, "edge")
    async with asyncio.timeout(PATIENCE_S):
        await connecting
        assert late.is_open
        await late.close()
    assert not late.is_open

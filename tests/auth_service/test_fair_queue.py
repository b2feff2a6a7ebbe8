"""Whose password is checked next: somebody new is never behind those who try again and again."""

from __future__ import annotations

import asyncio

import pytest

from auth_service.fair_queue import FairQueue, TooManyWaitingError


class WrongPasswordError(Exception):
    pass


class Desk:
    """Checks passwords by hand: who has a turn keeps it until told to leave."""

    def __init__(self, *, at_once: int = 1, **limits: int) -> None:
        self.now_s = 0.0
        self.queue = FairQueue(at_once=at_once, clock=lambda: self.now_s, **limits)
        self.served: list[str] = []
        self.new: list[str] = []
        self.refused: list[str] = []
        self.here: dict[str, asyncio.Event] = {}
        self.tasks: list[asyncio.Task[None]] = []

    async def come(
        self, name: str, account: str, address: str = "a", *, wrong: bool = False
    ) -> None:
        async def stay(is_new: bool) -> None:
            self.served.append(name)
            if is_new:
                self.new.append(name)
            self.here[name] = asyncio.Event()
            await self.here[name].wait()
            if wrong:
                raise WrongPasswordError

        async def ask() -> None:
            try:
                await self.queue.take(account, address, stay)
            except TooManyWaitingError:
                self.refused.append(name)
            except WrongPasswordError:
                pass

        self.tasks.append(asyncio.create_task(ask()))
        await self.settle()

    async def leave(self, name: str) -> None:
        self.here.pop(name).set()
        await self.settle()

    async def leave_all(self) -> None:
        while self.here:
            await self.leave(next(iter(self.here)))

    @staticmethod
    async def settle() -> None:
        for _ in range(5):
            await asyncio.sleep(0)


async def test_who_has_asked_before_waits_behind_somebody_new() -> None:
    desk = Desk()
    await desk.come("ann again", "ann")
    for number in range(2):
        await desk.come(f"ann {number}", "ann")
    await desk.come("bob", "bob")
    await desk.leave_all()

    assert desk.served == ["ann again", "bob", "ann 0", "ann 1"]


async def test_an_address_that_asks_much_waits_behind_another() -> None:
    desk = Desk()
    for number in range(6):
        await desk.come(f"one of many {number}", f"guess-{number}", "bad")
    await desk.come("honest", "honest", "good")
    await desk.leave_all()

    assert desk.served[:2] == ["one of many 0", "honest"]
    assert len(desk.served) == 7


async def test_an_address_that_was_refused_waits_whichever_accounts_it_names() -> None:
    desk = Desk()
    await desk.come("honest before", "honest", "good")
    await desk.leave("honest before")
    for number in range(3):
        await desk.come(f"guess {number}", f"account-{number}", "bad", wrong=True)
    await desk.come("honest", "honest", "good")
    await desk.leave("guess 0")

    assert desk.served == ["honest before", "guess 0", "honest"]


async def test_an_account_has_two_places_and_an_address_so_many() -> None:
    desk = Desk(per_address=4)
    for number in range(4):
        await desk.come(f"ann {number}", "ann")
    assert desk.refused == ["ann 3"], "one has its turn, two wait"
    for number in range(4):
        await desk.come(f"other {number}", f"other-{number}")

    assert desk.refused == ["ann 3", "ann 2", "ann 1"], "somebody new takes their places"
    await desk.leave_all()
    assert desk.served == ["ann 0", "other 0", "other 1", "other 2", "other 3"]


async def test_who_guesses_does_not_keep_an_account_s_places_from_its_owner() -> None:
    desk = Desk()
    await desk.come("guess", "ann", "elsewhere", wrong=True)
    await desk.leave("guess")
    for number in range(4):
        await desk.come(f"guess {number}", "ann", "elsewhere", wrong=True)
    await desk.come("ann", "ann", "home")

    assert desk.refused == ["guess 3", "guess 2"]
    await desk.leave_all()
    assert desk.served == ["guess", "guess 0", "ann", "guess 1"]


async def test_among_equals_who_comes_last_is_sent_away() -> None:
    desk = Desk(max_waiting=2)
    for number in range(4):
        await desk.come(str(number), f"account-{number}", f"address-{number}")

    assert desk.refused == ["3"]
    await desk.leave_all()
    assert desk.served == ["0", "1", "2"]


async def test_what_was_asked_is_forgotten() -> None:
    desk = Desk()
    await desk.come("ann", "ann")
    await desk.leave("ann")
    await desk.come("blocker", "blocker", "c")
    desk.now_s += 600.0
    await desk.come("ann later", "ann")
    await desk.come("bob", "bob")
    await desk.leave_all()

    assert desk.served == ["ann", "blocker", "ann later", "bob"]


@pytest.mark.parametrize("when", ["waiting", "its turn"])
async def test_whoever_gives_up_leaves_no_gap(when: str) -> None:
    desk = Desk()
    await desk.come("first", "first")
    await desk.come("second", "second")
    await desk.come("third", "third")
    if when == "its turn":
        desk.here.pop("first").set()
        await asyncio.sleep(0)
    desk.tasks[1].cancel()
    await desk.settle()
    await desk.leave_all()

    assert desk.served[-1] == "third"
    assert desk.queue.free == 1


async def test_whoever_gives_up_just_when_called_costs_nobody_a_turn() -> None:
    desk = Desk()
    for name in ("first", "second", "third"):
        await desk.come(name, name)
    desk.here.pop("first").set()
    desk.tasks[1].cancel()
    await desk.settle()
    await desk.leave_all()

    assert desk.served == ["first", "third"]
    assert desk.queue.free == 1


async def test_whoever_gives_up_just_when_sent_away_is_no_fault() -> None:
    desk = Desk(max_waiting=1)
    await desk.come("first", "first")
    await desk.come("first again", "first")
    new = asyncio.create_task(desk.queue.take("new", "b", lambda _: asyncio.Event().wait()))
    desk.tasks[1].cancel()
    await desk.settle()
    await desk.leave_all()
    new.cancel()

    assert desk.queue.free == 0, "the new one has its turn"


async def test_a_turn_is_taken_until_its_work_is_done() -> None:
    desk = Desk()
    await desk.come("first", "first", wrong=True)
    await desk.come("second", "second")
    desk.tasks[0].cancel()
    await desk.settle()
    assert desk.served == ["first"], "whoever gives up leaves a thread at work"
    await desk.leave_all()

    assert desk.served == ["first", "second"]
    assert desk.queue.free == 1


@pytest.mark.parametrize("wrong", [True, False], ids=["wrong", "right"])
async def test_one_turn_is_kept_for_somebody_new(wrong: bool) -> None:
    desk = Desk(at_once=2)
    for number in range(
        9
    ):  # of one address where all are wrong, of one account where all are right
        account = f"guess-{number}" if wrong else "ann"
        await desk.come(f"again {number}", account, "bad", wrong=wrong)
        if number < 5:
            await desk.leave(f"again {number}")
    assert list(desk.here) == ["again 5"], "the other turn is kept"
    await desk.come("new", "bob", "good")

    assert list(desk.here) == ["again 5", "new"], "whoever is new waits for nobody"
    assert desk.new[-1] == "new"
    assert "again 5" not in desk.new
    await desk.leave_all()
    assert desk.queue.free == 2


async def test_an_address_has_all_turns_but_the_last() -> None:
    desk = Desk(at_once=3)
    for number in range(4):
        await desk.come(f"{number}", f"account-{number}", "school")
    assert list(desk.here) == ["0", "1"]
    await desk.come("elsewhere", "new", "home")

    assert list(desk.here) == ["0", "1", "elsewhere"]
    await desk.leave_all()
    assert desk.new == ["0", "1", "elsewhere", "2", "3"]
    assert desk.queue.free == 3

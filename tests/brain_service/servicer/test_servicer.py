"""The brain's contract on a real server with a real store, engine and client."""

from __future__ import annotations

import asyncio
import json
from typing import Any

import grpc
import pytest

from aivo.brain.v1 import brain_pb2 as pb
from brain_service.engine.storage import StoreUnavailableError
from brain_service.model.interaction import MAX_SKILLS_PER_ITEM
from brain_service.model.params import MAX_SKILLS
from brain_service.servicer import convert
from service_runtime import slices
from tests.brain_service.servicer.servicer_support import (
    ROOT,
    WAIT_S,
    Stack,
    interact,
    interaction,
    read,
    status_of,
    watching,
)
from tests.support.turns import turns_beside


async def test_a_state_tells_every_skill_of_a_learner_who_has_as_many_as_are_kept(
    stack: Stack,
) -> None:
    names = [f"skill-{number}" for number in range(MAX_SKILLS)]
    batch = [
        interaction(
            interaction_id=f"i-{first}",
            context=pb.Context(correct=True, skills=names[first : first + MAX_SKILLS_PER_ITEM]),
        )
        for first in range(0, MAX_SKILLS, MAX_SKILLS_PER_ITEM)
    ]
    await interact(stack, batch)

    request = pb.GetStateRequest(queries=[pb.StateQuery(learner_id="mia")])
    (snapshot,) = (await stack.call("GetState", request)).snapshots
    assert sorted(one.skill for one in snapshot.assessment.mastery) == sorted(names)


async def test_an_interaction_is_answered_with_a_reading(stack: Stack) -> None:
    response = await stack.record()

    assessment = response.applied.assessment
    assert (response.applied.revision, response.applied.duplicate, response.epoch) == (
        1,
        False,
        stack.engine.epoch,
    )
    assert 0 <= assessment.levels.cognitive_load <= 1
    assert 0 < assessment.uncertainty.cognitive_load < 1
    assert len(assessment.grades) == 7
    assert [mastery.skill for mastery in assessment.mastery] == ["addition"]
    assert assessment.HasField("predicted_correct")
    assert assessment.model_version.startswith("vb-ssm/")
    assert (
        len(assessment.drivers.levels)
        == len(assessment.drivers.names)
        == len(assessment.drivers.contributions)
        > 20
    )


async def test_a_record_continues_the_trace_of_the_message_or_the_metadata_or_begins_one(
    stack: Stack,
) -> None:
    trace_id = ROOT.split("-")[1]
    in_message = await stack.record(traceparent=ROOT)
    request = pb.RecordInteractionRequest(interaction=interaction())
    in_metadata = await stack.call("RecordInteraction", request, metadata=(("traceparent", ROOT),))
    anew = await stack.record(traceparent="rubbish")

    assert (in_message.trace_id, in_metadata.trace_id) == (trace_id, trace_id)
    assert anew.trace_id not in ("", trace_id)
    history = await stack.call("GetHistory", pb.GetHistoryRequest(learner_id="mia"))
    assert [entry.traceparent.split("-")[1] for entry in history.entries] == [
        trace_id,
        trace_id,
        anew.trace_id,
    ]


async def test_a_batch_is_answered_in_order_and_a_bad_one_fails_alone(stack: Stack) -> None:
    batch = [
        interaction("mia", request_id=1),
        interaction("b d", request_id=2),
        interaction("ben", request_id=3, kind=pb.INTERACTION_KIND_UNSPECIFIED),
        interaction("mia", request_id=4, content="x" * 16_385),
        interaction("mia", request_id=5, context=pb.Context(time_taken_s=-1)),
        interaction("mia", request_id=6, context_json=b"[]"),
        interaction("mia", request_id=7, content="a\0b"),
        interaction("mia", request_id=8, response="a\0b"),
        interaction("mia\n", request_id=9),
        interaction("mia", request_id=10, interaction_id="x" * 129),
        interaction("mia", request_id=11, occurred_at_ms=-1),
        interaction("mia", request_id=12, received_at_ms=1 << 62),
        interaction("mia", request_id=13),
    ]
    fields = ["learner_id", "kind", "content", "time_taken", "context_json", "content"]
    fields += ["response", "learner_id", "interaction_id", "occurred_at", "received_at"]
    (response,) = await interact(stack, batch)

    assert [outcome.request_id for outcome in response.outcomes] == list(range(1, 14))
    assert [outcome.applied.revision for outcome in response.outcomes] == [1, *[0] * 11, 2]
    assert stack.engine.counters.outcomes["invalid"] == 11
    for outcome, field in zip(response.outcomes[1:-1], fields, strict=True):
        assert outcome.failure.code == pb.FAILURE_CODE_INVALID
        assert field in outcome.failure.message
        assert "xxx" not in outcome.failure.message
        assert "b d" not in outcome.failure.message


async def test_a_resend_is_a_duplicate_and_moves_nothing(stack: Stack) -> None:
    one = interaction(interaction_id="i-1")
    first, second = await interact(stack, [one, one], [one])

    assert [outcome.applied.duplicate for outcome in first.outcomes] == [False, True]
    assert second.outcomes[0].applied.duplicate
    assert second.outcomes[0].applied.assessment == first.outcomes[0].applied.assessment
    assert second.outcomes[0].applied.revision == 1


async def test_an_oversized_batch_ends_the_stream_and_changes_nothing(stack: Stack) -> None:
    code, details = await status_of(interact(stack, [interaction() for _ in range(1025)]))

    assert code is grpc.StatusCode.INVALID_ARGUMENT
    assert "interactions" in details
    assert await stack.engine.revisions(["mia"]) == {}


async def test_streams_interact_side_by_side(stack: Stack) -> None:
    results = await asyncio.gather(
        *(interact(stack, *[[interaction(f"l{n}")] for _ in range(5)]) for n in range(8))
    )

    assert [
        [response.outcomes[0].applied.revision for response in responses] for responses in results
    ] == [[1, 2, 3, 4, 5]] * 8


@pytest.mark.parametrize(
    ("method", "request_message", "field"),
    [
        (
            "RecordInteractions",
            pb.RecordInteractionsRequest(interactions=[interaction()] * 1025),
            "interactions",
        ),
        ("RecordInteraction", pb.RecordInteractionRequest(), "kind"),
        (
            "RecordInteraction",
            pb.RecordInteractionRequest(interaction=interaction("")),
            "learner_id",
        ),
        (
            "RecordInteraction",
            pb.RecordInteractionRequest(interaction=interaction(interaction_id="ä")),
            "interaction_id",
        ),
        (
            "RecordInteraction",
            pb.RecordInteractionRequest(interaction=interaction(response="x" * 16_385)),
            "response",
        ),
        (
            "RecordInteraction",
            pb.RecordInteractionRequest(interaction=interaction(occurred_at_ms=-5)),
            "occurred_at",
        ),
        (
            "RecordInteraction",
            pb.RecordInteractionRequest(interaction=interaction(occurred_at_ms=5)),
            "occurred_at",
        ),
        (
            "RecordInteraction",
            pb.RecordInteractionRequest(interaction=interaction(kind=99)),
            "kind",
        ),  # type: ignore[arg-type]
        ("ModifyWatch", pb.ModifyWatchRequest(add=[pb.Cursor(learner_id="a b")]), "learner_id"),
        ("GetState", pb.GetStateRequest(queries=[pb.StateQuery()]), "learner_id"),
        ("GetState", pb.GetStateRequest(queries=[pb.StateQuery(learner_id="a")] * 1025), "queries"),
        ("GetHistory", pb.GetHistoryRequest(learner_id="x\n"), "learner_id"),
        ("GetHistory", pb.GetHistoryRequest(learner_id="x", limit=1001), "limit"),
        ("AdaptContent", pb.AdaptContentRequest(learner_id="mia"), "content"),
        ("AdaptContent", pb.AdaptContentRequest(content="x"), "learner_id"),
        (
            "AdaptContent",
            pb.AdaptContentRequest(content="x", target_difficulty=9),
            "target_difficulty",
        ),
        (
            "AdaptContent",
            pb.AdaptContentRequest(content="x", target_difficulty=float("nan")),
            "target_difficulty",
        ),
        ("AdaptContent", pb.AdaptContentRequest(content="x", focus_areas=["y"] * 9), "focus_areas"),
        ("EraseLearner", pb.EraseLearnerRequest(learner_id="x"), "requested_by"),
        ("EraseLearner", pb.EraseLearnerRequest(requested_by="x"), "learner_id"),
    ],
)
async def test_a_bad_request_is_refused_by_the_name_of_its_field(
    stack: Stack, method: str, request_message: Any, field: str
) -> None:
    code, details = await status_of(stack.call(method, request_message))

    assert code is grpc.StatusCode.INVALID_ARGUMENT
    assert field in details


@pytest.mark.parametrize(
    ("method", "request_message", "field"),
    [
        ("WatchState", pb.WatchStateRequest(), "watch_id"),
        ("WatchState", pb.WatchStateRequest(watch_id="w", cursors=[pb.Cursor()]), "learner_id"),
        ("ExportLearner", pb.ExportLearnerRequest(learner_id="x"), "requested_by"),
    ],
)
async def test_a_bad_request_for_a_stream_is_refused_too(
    stack: Stack, method: str, request_message: Any, field: str
) -> None:
    code, details = await status_of(read(stack.call(method, request_message)))

    assert code is grpc.StatusCode.INVALID_ARGUMENT
    assert field in details
    assert len(stack.watches) == 0


async def test_a_store_that_is_away_makes_a_record_retryable(
    stack: Stack, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def refuse(*_: object) -> dict[str, int]:
        raise StoreUnavailableError("the disk is full")

    with monkeypatch.context() as patched:
        patched.setattr(stack.store, "commit", refuse)
        code, _ = await status_of(stack.record())
        (response,) = await interact(stack, [interaction()])

    assert code is grpc.StatusCode.UNAVAILABLE
    assert response.outcomes[0].failure.code == pb.FAILURE_CODE_UNAVAILABLE
    assert (await stack.record()).applied.revision == 1


async def test_a_caller_without_the_credential_is_refused(stack: Stack) -> None:
    code, _ = await status_of(stack.stub.GetState(pb.GetStateRequest()))

    assert code is grpc.StatusCode.UNAUTHENTICATED


async def test_states_are_told_with_all_skills(stack: Stack) -> None:
    await stack.record(context=pb.Context(correct=True, skills=["addition"]))
    await stack.record(context=pb.Context(correct=False, skills=["division"]))
    response = await stack.call(
        "GetState",
        pb.GetStateRequest(
            queries=[pb.StateQuery(learner_id="mia"), pb.StateQuery(learner_id="new")]
        ),
    )

    mia, new = response.snapshots
    assert mia.revision == 2
    assert {mastery.skill for mastery in mia.assessment.mastery} == {"addition", "division"}
    assert mia.occurred_at_ms > 0
    assert (new.learner_id, new.revision, new.HasField("assessment")) == ("new", 0, False)


async def test_history_comes_in_pages_with_what_was_sent(stack: Stack) -> None:
    for number in range(5):
        await stack.record(content=f"q{number}", response="7", context_json=b'{"x":1}')
    page = await stack.call(
        "GetHistory", pb.GetHistoryRequest(learner_id="mia", after_revision=1, limit=2)
    )
    newest = await stack.call(
        "GetHistory", pb.GetHistoryRequest(learner_id="mia", limit=2, newest=True)
    )

    assert [(entry.revision, entry.content, entry.response) for entry in page.entries] == [
        (2, "q1", "7"),
        (3, "q2", "7"),
    ]
    assert (page.has_more, newest.has_more) == (True, False)
    assert [entry.revision for entry in newest.entries] == [4, 5]
    assert page.entries[0].kind == pb.INTERACTION_KIND_PRACTICE
    assert page.entries[0].context_json == b'{"x":1}'
    assert page.entries[0].assessment.levels.engagement > 0


async def test_others_have_their_turns_while_a_page_of_history_is_made(
    stack: Stack, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(slices, "SLICE_S", 0.0)
    await interact(stack, [interaction() for _ in range(100)])
    (entries, _), turns = await turns_beside(
        stack.engine.history("mia", after_revision=0, limit=100, newest=False)
    )
    assert turns >= 100
    page, turns = await turns_beside(convert.history("e", entries, has_more=False, newest=True))
    assert turns >= 100
    assert [entry.revision for entry in page.entries] == list(range(1, 101))


async def test_a_page_of_history_that_is_too_large_for_a_message_ends_early(stack: Stack) -> None:
    blob = json.dumps({"x": "y" * 60_000}).encode()
    await interact(stack, *[[interaction(context_json=blob) for _ in range(50)] for _ in range(4)])
    page = await stack.call("GetHistory", pb.GetHistoryRequest(learner_id="mia", limit=1000))
    newest = await stack.call(
        "GetHistory", pb.GetHistoryRequest(learner_id="mia", limit=1000, newest=True)
    )

    assert page.has_more
    assert page.entries[0].revision == 1
    assert 100 < len(page.entries) < 200
    assert newest.entries[-1].revision == 200
    assert 100 < len(newest.entries) < 200


async def test_a_stopping_service_ends_streams_as_unavailable_and_acknowledges_what_it_has(
    stack: Stack,
) -> None:
    interacting = stack.stub.Interact(metadata=stack.channel.metadata)
    await interacting.write(pb.InteractRequest(interactions=[interaction()]))
    assert (await read(interacting)).outcomes[0].applied.revision == 1
    async with watching(stack, pb.Cursor(learner_id="mia")) as (watch, _):
        stack.servicer.drain()
        watch_code, _details = await status_of(read(watch))
        interact_code, _details = await status_of(read(interacting))
        again = stack.stub.WatchState(
            pb.WatchStateRequest(watch_id="late"), metadata=stack.channel.metadata
        )
        await again.read()
        late_code, _details = await status_of(read(again))

    assert {watch_code, interact_code, late_code} == {grpc.StatusCode.UNAVAILABLE}
    await stack.watches.until_none()
    async with asyncio.timeout(2):
        await stack.server.stop()


async def test_a_batch_in_hand_is_acknowledged_before_its_stream_ends(
    stack: Stack, monkeypatch: pytest.MonkeyPatch
) -> None:
    committing, released = asyncio.Event(), asyncio.Event()
    commit = stack.store.commit

    async def slow_commit(*given: Any) -> Any:
        committing.set()
        await released.wait()
        return await commit(*given)

    monkeypatch.setattr(stack.store, "commit", slow_commit)
    call = stack.stub.Interact(metadata=stack.channel.metadata)
    await call.write(pb.InteractRequest(interactions=[interaction()]))
    async with asyncio.timeout(WAIT_S):
        await committing.wait()
    stack.servicer.drain()
    stopping = asyncio.create_task(stack.server.stop())
    released.set()

    assert (await read(call)).outcomes[0].applied.revision == 1
    code, _ = await status_of(read(call))
    assert code is grpc.StatusCode.UNAVAILABLE
    await stopping


async def test_a_learner_is_exported_and_erased_and_watchers_hear_it(stack: Stack) -> None:
    await stack.record(count=3, content="secret question")
    export = stack.call(
        "ExportLearner", pb.ExportLearnerRequest(learner_id="mia", requested_by="admin")
    )
    lines = b"".join([part.json_lines async for part in export]).splitlines()
    assert sum(b"secret question" in line for line in lines) == 3
    assert all(isinstance(json.loads(line), dict) for line in lines)

    async with watching(stack, pb.Cursor(learner_id="mia")) as (call, _):
        erased = await stack.call(
            "EraseLearner", pb.EraseLearnerRequest(learner_id="mia", requested_by="admin")
        )
        (update,) = (await read(call)).updates

    assert erased.interactions == 3
    assert (stack.servicer._readings._last, stack.servicer._readings._before) == ({}, {})
    assert (update.gone, update.HasField("assessment")) == (True, False)
    state = await stack.call(
        "GetState", pb.GetStateRequest(queries=[pb.StateQuery(learner_id="mia")])
    )
    assert state.snapshots[0].revision == 0
    again = await stack.call(
        "EraseLearner", pb.EraseLearnerRequest(learner_id="mia", requested_by="admin")
    )
    assert again.interactions == 0


async def test_content_is_adapted_to_what_is_known_of_a_learner(stack: Stack) -> None:
    wish = pb.AdaptContentRequest(
        learner_id="mia",
        content="What is 3/4 of 12?",
        content_type="question",
        focus_areas=["fractions"],
    )
    unknown = await stack.call("AdaptContent", wish)
    await stack.record()
    known = await stack.call("AdaptContent", wish)

    assert (unknown.adapted_content, list(unknown.changes), unknown.revision) == (
        wish.content,
        [],
        0,
    )
    assert wish.content in known.adapted_content
    assert known.revision == 1
    assert known.changes[0].code == "focus"
    assert all(change.description and change.reason and change.undo for change in known.changes)

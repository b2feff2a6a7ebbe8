"""An internal service's first steps: watch a learner, record an interaction, see the update arrive,
read its trace id.

    .venv/bin/python examples/record_and_watch.py \\
        --brain 127.0.0.1:8001 --credential-file .aivo/service-credential

runs against a system that `make run` started. The learner it makes up is simulated like those of
the demonstration.
"""

from __future__ import annotations

import argparse
import asyncio
import sys
import time
import uuid
from collections.abc import AsyncIterator
from pathlib import Path

import grpc
import grpc.aio

from aivo.brain.v1 import brain_pb2, brain_pb2_grpc

DEADLINE_S = 5.0

DIRECT = (("grpc.enable_http_proxy", 0),)
"""The brain is inside: no proxy that the environment names stands between."""


async def main(address: str, credential: str, learner_id: str) -> None:
    """Do the three things and print what came of them."""
    metadata = (("authorization", f"Bearer {credential}"),)
    async with grpc.aio.insecure_channel(address, options=DIRECT) as channel:
        brain = brain_pb2_grpc.BrainServiceStub(channel)

        # 1. Watch: one stream serves any number of learners; ModifyWatch adds and removes some
        # while it is open.
        watch = brain.WatchState(
            brain_pb2.WatchStateRequest(
                watch_id=str(uuid.uuid4()),
                cursors=[
                    brain_pb2.Cursor(learner_id=learner_id, mode=brain_pb2.DELIVERY_MODE_EVERY)
                ],
            ),
            metadata=metadata,
        )
        responses = watch.__aiter__()
        async with asyncio.timeout(DEADLINE_S):
            first = await anext(responses)
        (snapshot,) = first.snapshots
        print(f"watching {learner_id} from revision {snapshot.revision}")

        # 2. Record. The id makes a retry harmless: sent again, it returns the first outcome and
        # moves nothing. A traceparent continues the caller's trace; here a new one is started.
        interaction = brain_pb2.Interaction(
            interaction_id=f"example-{time.time_ns()}",
            learner_id=learner_id,
            kind=brain_pb2.INTERACTION_KIND_QUESTION_RESPONSE,
            content="What is 3/4 of 24?",
            response="18",
            context=brain_pb2.Context(
                correct=True,
                difficulty=3,
                subject="math",
                skills=["fractions"],
                time_taken_s=14.5,
                attempts=1,
            ),
            traceparent=f"00-{uuid.uuid4().hex}-{uuid.uuid4().hex[:16]}-01",
        )
        recorded = await brain.RecordInteraction(
            brain_pb2.RecordInteractionRequest(interaction=interaction),
            metadata=metadata,
            timeout=DEADLINE_S,
        )
        assessment = recorded.applied.assessment
        print(
            f"recorded as revision {recorded.applied.revision}, predicted"
            f" {assessment.predicted_correct:.2f}"
        )
        print(
            f"cognitive load {assessment.levels.cognitive_load:.2f}, confidence"
            f" {assessment.levels.confidence:.2f}"
        )
        for recommendation in assessment.recommendations:
            print(f"recommended: {recommendation.sentence}")

        # 3. The watcher hears of it, with the trace that caused it.
        async with asyncio.timeout(DEADLINE_S):
            update = await update_of(responses, learner_id, recorded.applied.revision)
        print(f"the watcher saw revision {update.revision}")
        print(f"trace id {recorded.trace_id}")
        watch.cancel()


async def update_of(
    responses: AsyncIterator[brain_pb2.WatchStateResponse], learner_id: str, revision: int
) -> brain_pb2.StateUpdate:
    """Read the stream until a learner has reached a revision; responses may also be mere
    heartbeats.
    """
    async for response in responses:
        for update in response.updates:
            if update.learner_id == learner_id and update.revision >= revision:
                return update
    raise ConnectionError("the stream ended; open it again with the cursor reached")


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.formatter_class = argparse.ArgumentDefaultsHelpFormatter
    parser.add_argument(
        "--brain", default="127.0.0.1:8001", metavar="HOST:PORT", help="where the brain is"
    )
    parser.add_argument(
        "--credential-file",
        type=Path,
        default=Path(".aivo/service-credential"),
        metavar="FILE",
        help="the service credential",
    )
    parser.add_argument("--learner", default="demo-example", metavar="ID", help="whom to act for")
    arguments = parser.parse_args()
    try:
        credential = arguments.credential_file.read_text(encoding="utf-8").strip()
    except OSError as error:
        sys.exit(f"cannot read the service credential (`make run` makes one): {error}")
    try:
        asyncio.run(main(arguments.brain, credential, arguments.learner))
    except grpc.RpcError as error:
        sys.exit(f"the brain answered {error.code().name}: {error.details()}")

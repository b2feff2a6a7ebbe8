/** What is shown of learners: never older than before, resumed after every break. */

import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { connectionQuality, virtualBrainClient } from "@aivo/realtime";
import { answer, levelsAt, meaningOf, world } from "./fakes";

async function watched() {
  const all = world();
  const seen: number[] = [];
  all.client.on("state", ({ update }) => seen.push(update.revision!));
  all.client.subscribeLearner("l1");
  all.client.connect();
  await all.clock.advance(100);
  return { ...all, seen };
}

describe("subscribing", () => {
  it("works before connecting, shows the current state and then each update", async () => {
    const { client, server, clock, seen } = await watched();
    expect(client.getSnapshot().subscribedLearners.has("l1")).toBe(true);
    expect(client.getLearner("l1")).toMatchObject({ state: null, revision: 0 });
    server.move("l1", 0.4);
    await clock.advance(0);

    expect(client.getLearner("l1")).toMatchObject({
      state: levelsAt(0.4),
      revision: 1,
      epoch: "e1",
    });
    expect(seen).toEqual([1]);
  });

  it("is repeated after a break with the place to resume from, by itself", async () => {
    const { client, server, clock, seen } = await watched();
    server.move("l1", 0.4);
    await clock.advance(10_000);
    server.socket.drop(1006);
    expect(client.getSnapshot().subscribedLearners.size).toBe(0);
    server.learner("l1").revision = 5;
    server.learner("l1").state = levelsAt(0.9);
    await clock.advance(1_000);

    expect(server.of("subscribe_learner").at(-1)).toMatchObject({
      learner_id: "l1",
      resume: { epoch: "e1", revision: 1 },
    });
    expect(client.getLearner("l1")).toMatchObject({ revision: 5, state: levelsAt(0.9) });
    expect(seen).toEqual([1, 5]);
    expect(connectionQuality(client.state, clock.now()).gaps).toBe(0);
  });

  it("takes the state of another history when the server lost the old one, and counts the gap", async () => {
    const { client, server, clock, seen } = await watched();
    server.move("l1", 0.4);
    server.move("l1", 0.5);
    await clock.advance(10_000);
    server.learners.set("l1", { epoch: "e2", revision: 1, state: levelsAt(0.2) });
    server.socket.drop(1006);
    await clock.advance(1_000);

    expect(client.getLearner("l1")).toMatchObject({
      epoch: "e2",
      revision: 1,
      state: levelsAt(0.2),
    });
    expect(connectionQuality(client.state, clock.now()).gaps).toBe(1);
    expect(seen).toEqual([1, 2, 1]);
  });

  it("is shared: the last of several watchers ends it, a moment later", async () => {
    const { client, server, clock } = await watched();
    const stop = client.subscribeLearner("l1");
    stop();
    stop();
    await clock.advance(5_000);
    expect(server.of("unsubscribe_learner")).toHaveLength(0);
    client.unsubscribeLearner("l1");
    expect(client.getSnapshot().subscribedLearners.size).toBe(0);
    await clock.advance(5_000);

    expect(server.of("unsubscribe_learner")).toHaveLength(1);
    expect(server.of("subscribe_learner")).toHaveLength(1);
    expect(client.getLearner("l1")).toBeUndefined();
  });

  it("costs nothing when a watcher leaves and comes back", async () => {
    const { client, server, clock } = await watched();
    client.unsubscribeLearner("l1");
    client.subscribeLearner("l1");
    await clock.advance(5_000);
    expect(server.of("subscribe_learner")).toHaveLength(1);
    expect(server.of("unsubscribe_learner")).toHaveLength(0);
  });

  it("is tried again when the server is busy, and not when it says no", async () => {
    const { client, server, clock } = world();
    const errors: string[] = [];
    client.on("error", ({ error }) => errors.push(error.code));
    let answers = 0;
    server.onFrame = (socket, frame) => {
      if (frame.type !== "subscribe_learner") return false;
      const refusal =
        frame.learner_id === "foreign"
          ? { code: "forbidden", retryable: false }
          : { code: "overloaded", retryable: true };
      if (frame.learner_id !== "foreign" && ++answers > 2) return false;
      socket.push({ type: "error", id: frame.id, error: "No.", ...refusal });
      return true;
    };
    client.subscribeLearner("l1");
    client.subscribeLearner("foreign");
    client.connect();
    await clock.advance(60_000);

    expect(client.getSnapshot().subscribedLearners).toEqual(new Set(["l1"]));
    expect(client.subscriptionStatus("foreign")).toBe("refused");
    expect(errors).toEqual(["forbidden"]);
  });

  it("shows nothing more of a learner when access is revoked", async () => {
    const { client, server, clock } = await watched();
    server.move("l1", 0.4);
    server.socket.push({
      type: "unsubscribed",
      learner_id: "l1",
      code: "revoked",
      retryable: false,
    });
    await clock.advance(60_000);

    expect(client.getLearner("l1")).toBeUndefined();
    expect(client.subscriptionStatus("l1")).toBe("refused");
    expect(server.of("subscribe_learner")).toHaveLength(1);
  });

  it("that nobody answers is repeated", async () => {
    const { client, server, clock } = world();
    let deaf = true;
    server.onFrame = (_, frame) => deaf && frame.type === "subscribe_learner";
    client.subscribeLearner("l1");
    client.connect();
    await clock.advance(14_000);
    deaf = false;
    await clock.advance(2_000);
    expect(client.getSnapshot().subscribedLearners.has("l1")).toBe(true);
  });
});

describe("updates", () => {
  it("are never older than what is shown, and told once each, in any order of arrival", async () => {
    await fc.assert(
      fc.asyncProperty(
        fc.array(fc.integer({ min: 1, max: 20 }), { maxLength: 40 }),
        async (revisions) => {
          const { client, server, clock, seen } = await watched();
          let shown = 0;
          for (const revision of revisions) {
            server.socket.push({
              type: "state_update",
              learner_id: "l1",
              epoch: "e1",
              revision,
              state: levelsAt(revision / 20),
              coalesced: 0,
            });
            shown = Math.max(shown, revision);
            expect(client.getLearner("l1")!.revision).toBe(shown);
          }
          await clock.advance(0);
          expect(seen).toEqual([...new Set(seen)].sort((a, b) => a - b));
          if (shown) expect(client.getLearner("l1")!.state).toEqual(levelsAt(shown / 20));
          client.disconnect();
        },
      ),
      { numRuns: 100 },
    );
  });

  it("skipped with notice are no gap; skipped without are", async () => {
    const { client, server, clock } = await watched();
    const push = (revision: number, coalesced: number) =>
      server.socket.push({
        type: "state_update",
        learner_id: "l1",
        epoch: "e1",
        revision,
        coalesced,
        state: levelsAt(0.5),
      });
    push(1, 0);
    push(5, 3);
    expect(connectionQuality(client.state, clock.now()).gaps).toBe(0);
    push(9, 1);
    expect(connectionQuality(client.state, clock.now()).gaps).toBe(1);
  });

  it("missing in `every` mode are asked for again from where we are", async () => {
    const { client, server, clock } = world();
    const seen: number[] = [];
    client.on("state", ({ update }) => seen.push(update.revision!));
    client.subscribeLearner("l1", { mode: "every" });
    client.connect();
    await clock.advance(10);
    const push = (revision: number) =>
      server.socket.push({
        type: "state_update",
        learner_id: "l1",
        epoch: "e1",
        revision,
        state: levelsAt(0.5),
      });
    push(1);
    server.onFrame = (socket, frame) => {
      if (frame.type !== "subscribe_learner") return false;
      expect(frame).toMatchObject({ mode: "every", resume: { epoch: "e1", revision: 1 } });
      socket.push({
        type: "subscribed",
        id: frame.id,
        learner_id: "l1",
        success: true,
        epoch: "e1",
        revision: 4,
        recovered: true,
        state: levelsAt(0.5),
        missed: 3,
      });
      [2, 3, 4].forEach(push);
      return true;
    };
    push(4);
    await clock.advance(10);

    expect(seen).toEqual([1, 2, 3, 4]);
  });

  it("include our own writes: after an answer nothing older is shown", async () => {
    const { client, server, clock, seen } = await watched();
    const stale = {
      type: "state_update",
      learner_id: "l1",
      epoch: "e1",
      revision: 0,
      state: levelsAt(0.1),
    };
    const { acknowledged } = client.sendVirtualBrainInteraction(answer());
    await clock.advance(0);
    await acknowledged;
    server.socket.push(stale);

    expect(client.getLearner("l1")).toMatchObject({
      revision: 1,
      details: { recommendations: ["Keep going."] },
    });
    expect(seen).toEqual([1]);
  });

  it("keep the newest of each detail, and what explains a revision only of that one", async () => {
    const { client, server } = await watched();
    const base = { type: "state_update", learner_id: "l1", epoch: "e1", state: levelsAt(0.5) };
    server.socket.push({
      ...base,
      revision: 1,
      recommendations: ["Take a break."],
      mastery: { add: 0.5 },
      drivers: { x: 1 },
      meaning: meaningOf({ frustration_level: "higher" }),
      explanations: {},
    });
    server.socket.push({ ...base, revision: 2, mastery: { sub: 0.4 } });

    expect(client.getLearner("l1")!.details).toEqual({
      recommendations: ["Take a break."],
      mastery: { add: 0.5, sub: 0.4 },
    });
  });

  it("reach virtualBrainClient once attached, until stopped", async () => {
    const { client, server } = await watched();
    const detach = virtualBrainClient.attach(client);
    const seen: number[] = [];
    const stop = virtualBrainClient.onStateUpdate("l1", (state) => seen.push(state.cognitive_load));
    server.move("l1", 0.4);
    stop();
    server.move("l1", 0.6);
    detach();
    expect(seen).toEqual([0.4]);
  });
});

describe("requests", () => {
  it("are answered by id, refused when offline, and end when the connection does", async () => {
    const { client, server, clock } = world();
    await expect(client.getState("l1")).rejects.toMatchObject({ code: "not_connected" });
    client.connect();
    await clock.advance(10);
    const state = client.getState("l1");
    await clock.advance(10);
    expect(await state).toMatchObject({ type: "state_response", learner_id: "l1" });
    server.silent = true;
    const lost = client.getState("l1");
    server.socket.drop(1006);
    await expect(lost).rejects.toMatchObject({ code: "connection_lost" });
  });

  it("end after 10 s without an answer, or with the error that answers them", async () => {
    const { client, server, clock } = world();
    client.connect();
    await clock.advance(10);
    server.onFrame = (socket, frame) => {
      if (frame.type === "adapt_content")
        socket.push({
          type: "error",
          id: frame.id,
          error: "No.",
          code: "forbidden",
          retryable: false,
        });
      return frame.type === "adapt_content" || frame.type === "get_state";
    };
    const late = client.getState("l1");
    const refused = client.adaptContent({ learner_id: "l1", content: "x", content_type: "text" });
    await clock.advance(10_000);
    await expect(refused).rejects.toMatchObject({ code: "forbidden", message: "No." });
    await expect(late).rejects.toMatchObject({ code: "timeout" });
  });
});

describe("rooms", () => {
  it("know who is there, and are joined again after a break", async () => {
    const { client, server, clock } = world();
    client.joinRoom("r1");
    client.connect();
    await clock.advance(10_000);
    server.socket.push({
      type: "user_joined",
      room_id: "r1",
      connection_id: "c9",
      user: { id: "u9" },
    });
    expect(
      client
        .getSnapshot()
        .rooms.get("r1")!
        .map((member) => member.connection_id),
    ).toEqual(["c1", "c9"]);
    server.socket.push({ type: "user_left", room_id: "r1", connection_id: "c9" });
    expect(client.getSnapshot().rooms.get("r1")).toHaveLength(1);
    server.socket.drop(1006);
    expect(client.getSnapshot().rooms.size).toBe(0);
    await clock.advance(1_000);
    expect(client.getSnapshot().rooms.has("r1")).toBe(true);
    expect(server.of("join_room")).toHaveLength(2);
    expect(client.sendRoomMessage("r1", { hi: 1 })).toBe(true);
    client.leaveRoom("r1");
    await clock.advance(2_000);
    expect(server.of("leave_room")).toHaveLength(1);
  });
});

describe("quality", () => {
  it("follows round trip, age and gaps", async () => {
    const { client, server, clock } = world();
    expect(connectionQuality(client.state, clock.now()).level).toBe("offline");
    server.onFrame = (socket, frame) => {
      if (frame.type !== "ping") return false;
      clock.setTimeout(() => socket.push({ type: "pong", id: frame.id }), 500);
      return true;
    };
    client.connect();
    await clock.advance(0);
    expect(connectionQuality(client.state, clock.now())).toMatchObject({
      level: "excellent",
      rttMs: null,
    });
    await clock.advance(600);
    expect(connectionQuality(client.state, clock.now())).toMatchObject({
      level: "fair",
      rttMs: 500,
    });
    server.silent = true;
    await clock.advance(32_000);
    expect(connectionQuality(client.state, clock.now()).level).toBe("poor");
    server.socket.drop(4403);
    expect(connectionQuality(client.state, clock.now()).level).toBe("offline");
  });
});

/** The offline queue: nothing sent is lost, nothing is counted twice. */

import fc from "fast-check";
import { describe, expect, it } from "vitest";
import type { RealtimeError } from "@aivo/realtime";
import { answer, jwt, settle, world } from "./fakes";

const code = (promise: Promise<unknown>): Promise<string> =>
  promise.then(
    () => "acknowledged",
    (error: RealtimeError) => error.code,
  );

describe("interactions", () => {
  it("are sent at once when connected, in the guide's form, and acknowledged", async () => {
    const { client, server, storage, clock } = world();
    client.connect();
    await clock.advance(10);
    const { acknowledged, interaction_id } = client.sendVirtualBrainInteraction(answer());
    expect(storage.length).toBe(1);
    await clock.advance(0);

    expect(server.of("virtual_brain_interact")).toEqual([
      { type: "virtual_brain_interact", id: interaction_id, data: { ...answer(), interaction_id } },
    ]);
    expect((await acknowledged).revision).toBe(1);
    expect(storage.length).toBe(0);
    expect(client.getSnapshot().queueSize).toBe(0);
  });

  it("given offline are sent in order after connecting, saying when they happened by the server's clock", async () => {
    const { client, server, clock } = world();
    server.clockOffsetMs = 7_200_000;
    const ids = ["a", "b", "c"].map(
      (content) => client.sendVirtualBrainInteraction(answer("l1", content)).interaction_id,
    );
    await clock.advance(60_000);
    client.connect();
    await clock.advance(100);

    expect(server.committed).toEqual(ids);
    expect(server.of("virtual_brain_interact")[0]!.data.occurred_at).toBe(
      "2026-03-02T10:00:00.000Z",
    );
  });

  it("survive a crash between sending and acknowledgement, under the same id, counted once", async () => {
    const { client, server, clock, make, storage } = world();
    client.connect();
    await clock.advance(10);
    server.swallowAnswers = 1;
    const { interaction_id } = client.sendVirtualBrainInteraction(answer());
    await clock.advance(10);
    expect(server.committed).toEqual([interaction_id]);
    server.socket.onclose = server.socket.onmessage = null; // The page is gone; nothing of it runs any more.

    const next = make();
    const heard: string[] = [];
    next.on("acknowledged", ({ id, response }) => heard.push(`${id} ${response.duplicate}`));
    next.connect();
    await clock.advance(100);

    expect(server.of("virtual_brain_interact").map(({ data }) => data.interaction_id)).toEqual([
      interaction_id,
      interaction_id,
    ]);
    expect(server.committed).toEqual([interaction_id]);
    expect(server.learner("l1").revision).toBe(1);
    expect(heard).toEqual([`${interaction_id} true`]);
    expect(storage.length).toBe(0);
  });

  it("left by an earlier page are sent in the order they were given, before those of this page", async () => {
    const { client, server, clock, make, storage } = world();
    const ids: string[] = [];
    for (const n of [1, 2, 3]) {
      ids.push(client.sendVirtualBrainInteraction(answer("l1", `${n}`)).interaction_id);
      await clock.advance(1_000);
    }
    const stored = [...storage.items].reverse();
    storage.items.clear();
    for (const [key, value] of stored) storage.items.set(key, value);
    const next = make();
    ids.push(next.sendVirtualBrainInteraction(answer("l1", "4")).interaction_id);
    next.connect();
    await clock.advance(100);

    expect(server.committed).toEqual(ids);
  });

  it("given twice under one id are sent once, and whoever gave them hears of it", async () => {
    const { client, server, clock } = world();
    const given = [1, 2].map(() =>
      client.sendVirtualBrainInteraction({ ...answer(), interaction_id: "mine" }),
    );
    const heard = given.map(({ acknowledged }) => code(acknowledged));
    client.connect();
    await clock.advance(100);

    expect(server.of("virtual_brain_interact")).toHaveLength(1);
    expect(await Promise.race([Promise.all(heard), settle()])).toEqual([
      "acknowledged",
      "acknowledged",
    ]);
  });

  it("on the wire when the connection breaks are sent again under the same id", async () => {
    const { client, server, clock } = world();
    client.connect();
    await clock.advance(10_000);
    server.swallowAnswers = 1;
    const { acknowledged } = client.sendVirtualBrainInteraction(answer());
    await clock.advance(10);
    server.socket.drop(1006);
    await clock.advance(2_000);

    expect((await acknowledged).duplicate).toBe(true);
    expect(server.committed).toHaveLength(1);
  });

  it("unanswered for 15 s on a live connection are sent again", async () => {
    const { client, server, clock } = world();
    client.connect();
    await clock.advance(10);
    server.swallowAnswers = 1;
    const { acknowledged } = client.sendVirtualBrainInteraction(answer());
    await clock.advance(15_000);

    expect((await acknowledged).duplicate).toBe(true);
  });

  it("refused for now wait and are sent again; refused for good are told and forgotten", async () => {
    const { client, server, clock, storage } = world();
    let busy = true;
    server.onFrame = (socket, frame) => {
      if (frame.type !== "virtual_brain_interact") return false;
      if (frame.data.content === "bad")
        socket.push({
          type: "error",
          id: frame.id,
          error: "No.",
          code: "forbidden",
          retryable: false,
        });
      else if (busy)
        socket.push({
          type: "error",
          id: frame.id,
          error: "Busy.",
          code: "overloaded",
          retryable: true,
          retry_after_ms: 3_000,
        });
      else return false;
      return true;
    };
    client.connect();
    await clock.advance(10);
    const good = client.sendVirtualBrainInteraction(answer("l1", "good"));
    const bad = client.sendVirtualBrainInteraction(answer("l1", "bad"));
    await clock.advance(2_900);
    expect(await code(bad.acknowledged)).toBe("forbidden");
    expect(server.committed).toEqual([]);
    busy = false;
    await clock.advance(200);

    expect(await code(good.acknowledged)).toBe("acknowledged");
    expect(server.committed).toEqual([good.interaction_id]);
    expect(storage.length).toBe(0);
  });

  it("too big are refused before they are sent; after 1009 the largest is given up, not sent for ever", async () => {
    const { client, server, clock } = world();
    client.connect();
    await clock.advance(10_000);
    expect(
      await code(client.sendVirtualBrainInteraction(answer("l1", "x".repeat(70_000))).acknowledged),
    ).toBe("too_big");
    server.onFrame = (socket, frame) => {
      if (frame.type !== "virtual_brain_interact" || frame.data.content.length < 30_000)
        return false;
      socket.drop(1009);
      return true;
    };
    const small = client.sendVirtualBrainInteraction(answer("l1", "small"));
    const large = client.sendVirtualBrainInteraction(answer("l1", "x".repeat(40_000)));
    await clock.advance(10_000);

    expect(await code(large.acknowledged)).toBe("too_big");
    expect(await code(small.acknowledged)).toBe("acknowledged");
    expect(client.getSnapshot().isConnected).toBe(true);
  });

  it("are bounded: a new one is refused when the queue is full, the old ones stay", async () => {
    const { client, server, clock } = world({ config: { queueMaxItems: 2 } });
    const sent = [1, 2, 3].map((n) => client.sendVirtualBrainInteraction(answer("l1", `${n}`)));
    expect(await code(sent[2]!.acknowledged)).toBe("queue_full");
    client.connect();
    await clock.advance(100);
    expect(server.committed).toEqual(sent.slice(0, 2).map((item) => item.interaction_id));
  });

  it("expire when the server would not take them any more", async () => {
    const { client, server, clock, storage } = world();
    const { acknowledged } = client.sendVirtualBrainInteraction(answer());
    await clock.advance(8 * 24 * 3_600_000);
    client.connect();
    await clock.advance(100);

    expect(await code(acknowledged)).toBe("expired");
    expect(server.committed).toEqual([]);
    expect(storage.length).toBe(0);
  });

  it("of one user are never sent in another's name, and wait for their owner", async () => {
    const { client, clock, make, server, storage } = world();
    server.userOfToken = (token) => (token === jwt("u2") ? "u2" : "u1");
    const { interaction_id } = client.sendVirtualBrainInteraction(answer());
    const other = make({ token: jwt("u2") });
    other.connect();
    await clock.advance(1_000);
    expect(server.committed).toEqual([]);
    expect(storage.length).toBe(1);
    other.disconnect();

    const owner = make();
    owner.connect();
    await clock.advance(1_000);
    expect(server.committed).toEqual([interaction_id]);
  });

  it("of the one who logs out are not sent after another logs in on the same page", async () => {
    let token = jwt("u1");
    const { client, clock, server } = world({ getToken: () => token });
    server.userOfToken = (given) => (given === jwt("u2") ? "u2" : "u1");
    client.connect();
    await clock.advance(1_000);
    server.refuses = true;
    server.socket.drop(1006);
    client.sendVirtualBrainInteraction(answer());
    token = jwt("u2");
    server.refuses = false;
    await clock.advance(5_000);
    expect(server.committed).toEqual([]);
    expect(client.getSnapshot()).toMatchObject({ isConnected: true, queueSize: 0 });
    token = jwt("u1");
    client.tokenChanged();
    await clock.advance(5_000);
    expect(server.committed).toHaveLength(1);
  });

  it("given before anybody is known belong to whoever the server says is connected", async () => {
    const { client, clock, server, storage } = world({ token: "opaque" });
    client.sendVirtualBrainInteraction(answer());
    expect(storage.length).toBe(0);
    server.swallowAnswers = 1;
    client.connect();
    await clock.advance(10);
    expect([...storage.items.keys()]).toEqual([expect.stringMatching(/^aivo\.queue:u1:/)]);
  });

  it("of two tabs do not overwrite each other in storage", async () => {
    const { client, make, storage, server, clock } = world();
    const one = client.sendVirtualBrainInteraction(answer("l1", "1"));
    const two = make().sendVirtualBrainInteraction(answer("l1", "2"));
    expect(storage.length).toBe(2);
    client.connect();
    await clock.advance(100);
    expect(new Set(server.committed)).toEqual(new Set([one.interaction_id, two.interaction_id]));
  });

  it("work on when the storage is full or broken, and say once that they are not kept", async () => {
    const { client, storage, server, clock } = world();
    const errors: string[] = [];
    client.on("error", ({ error }) => errors.push(error.code));
    storage.full = true;
    client.sendVirtualBrainInteraction(answer());
    client.sendVirtualBrainInteraction(answer());
    storage.items.set("aivo.queue:u1:broken", "{");
    client.connect();
    await clock.advance(100);

    expect(errors).toEqual(["not_persisted"]);
    expect(server.committed).toHaveLength(2);
    expect(storage.length).toBe(0);
  });

  it("can be cleared, which tells their senders", async () => {
    const { client, storage } = world();
    const { acknowledged } = client.sendVirtualBrainInteraction(answer());
    client.clearQueue();
    expect(await code(acknowledged)).toBe("cleared");
    expect(storage.length).toBe(0);
  });

  it("in large numbers keep within the server's limits: 64 in flight, a burst of 100, 50 a second", async () => {
    const { client, server, clock } = world();
    const times: number[] = [];
    let inFlight = 0;
    let most = 0;
    server.onFrame = (socket, frame) => {
      times.push(clock.now());
      if (frame.type !== "virtual_brain_interact") return false;
      most = Math.max(most, ++inFlight);
      clock.setTimeout(() => {
        inFlight--;
        socket.push({
          type: "virtual_brain_response",
          id: frame.id,
          learner_id: "l1",
          interaction_id: frame.id,
          revision: 1,
          result: {},
        });
      }, 20);
      return true;
    };
    for (let n = 0; n < 500; n++) client.sendVirtualBrainInteraction(answer("l1", `${n}`));
    for (let n = 0; n < 100; n++) client.subscribeLearner(`x${n}`);
    client.connect();
    await clock.advance(30_000);

    expect(client.getSnapshot().queueSize).toBe(0);
    expect(most).toBeLessThanOrEqual(64);
    for (const [index, at] of times.entries()) {
      const inWindow = times.slice(index).filter((later) => later - at < 1_000).length;
      expect(inWindow).toBeLessThanOrEqual(150);
    }
  });

  it("whatever breaks and whenever the page dies: each is committed exactly once, in the end", async () => {
    const act = fc.oneof(
      fc.constant("send"),
      fc.constant("send"),
      fc.constant("drop"),
      fc.constant("swallow"),
      fc.constant("crash"),
      fc.constant("down"),
      fc.constant("up"),
      fc.constant("drain"),
      fc.constant("wait"),
    );
    await fc.assert(
      fc.asyncProperty(fc.array(act, { maxLength: 30 }), async (acts) => {
        const { client: first, server, clock, make, storage } = world();
        let client = first;
        const sent: string[] = [];
        client.connect();
        for (const [n, what] of acts.entries()) {
          if (what === "send")
            sent.push(client.sendVirtualBrainInteraction(answer("l1", `${n}`)).interaction_id);
          else if (what === "drop") server.socket.drop(1006);
          else if (what === "swallow") server.swallowAnswers++;
          else if (what === "down") server.refuses = true;
          else if (what === "up") server.refuses = false;
          else if (what === "drain")
            server.socket.push({ type: "server_draining", reconnect_after_ms: 700 });
          else if (what === "wait") await clock.advance(3_000);
          else {
            client.disconnect(); // A crash keeps nothing but the storage.
            client = make();
            client.connect();
          }
          await clock.advance(5);
        }
        server.refuses = false;
        server.swallowAnswers = 0;
        await clock.advance(120_000);

        expect([...server.committed].sort()).toEqual([...sent].sort());
        expect(storage.length).toBe(0);
        client.disconnect();
      }),
      { numRuns: 150 },
    );
  });
});

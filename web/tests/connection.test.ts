/** The life of the connection, against the fake server. */

import { describe, expect, it, vi } from "vitest";
import type { RealtimeError } from "@aivo/realtime";
import { FakeClock, jwt, settle, world } from "./fakes";

describe("connecting", () => {
  it("authenticates by the first frame and keeps the token out of the URL", async () => {
    const { client, server, clock } = world();
    client.connect();
    expect(client.getSnapshot().status).toBe("connecting");
    await clock.advance(0);

    expect(server.socket.url).toBe("ws://test/ws");
    expect(server.received[0]).toEqual({ type: "authenticate", token: jwt("u1") });
    expect(client.getSnapshot()).toMatchObject({
      status: "connected",
      isConnected: true,
      connectionId: "c1",
      user: { id: "u1", role: "teacher" },
    });
  });

  it("opens one socket however often it is told to connect", async () => {
    const { client, server, clock } = world();
    client.connect();
    client.connect();
    await clock.advance(100);
    client.connect();
    await clock.advance(100);

    expect(server.sockets).toHaveLength(1);
  });

  it("leaves no timer and no socket behind after disconnect", async () => {
    const { client, server, clock } = world();
    client.connect();
    await clock.advance(10);
    client.disconnect();

    expect(clock.pending).toBe(0);
    expect(server.open).toHaveLength(0);
    expect(client.getSnapshot().status).toBe("disconnected");
  });

  it("does not connect when disconnect comes while the token is fetched", async () => {
    let give: (token: string) => void = () => {};
    const { client, server, clock } = world({
      getToken: () => new Promise((resolve) => (give = resolve)),
    });
    client.connect();
    client.disconnect();
    give(jwt("u1"));
    await clock.advance(1_000);

    expect(server.sockets).toHaveLength(0);
  });

  it("gives up on a handshake that hangs and tries again", async () => {
    const { client, server, clock } = world();
    server.hangs = true;
    client.connect();
    await clock.advance(20_000);
    expect(client.getSnapshot().status).toBe("reconnecting");

    server.hangs = false;
    await clock.advance(1_000);
    expect(client.getSnapshot().isConnected).toBe(true);
  });

  it("says bad_url and stays closed when no socket can be made", async () => {
    const { client, clock, server } = world(
      {},
      {
        WebSocket: class {
          constructor() {
            throw new SyntaxError();
          }
        } as never,
      },
    );
    client.connect();
    await clock.advance(60_000);

    expect(client.getSnapshot()).toMatchObject({ status: "error", error: { code: "bad_url" } });
    expect(server.sockets).toHaveLength(0);
  });
});

describe("close codes", () => {
  it.each([[1009], [1011], [1012], [1013], [4408], [4429], [1006], [1001], [3999]])(
    "%i reconnects",
    async (code) => {
      const { client, server, clock } = world();
      client.connect();
      await clock.advance(10_000);
      server.socket.drop(code);
      expect(client.getSnapshot().status).toBe("reconnecting");
      await clock.advance(1_000);

      expect(client.getSnapshot().isConnected).toBe(true);
      expect(server.sockets).toHaveLength(2);
    },
  );

  it.each([
    [1000, "disconnected"],
    [4400, "error"],
    [4403, "error"],
  ])("%i stays closed (%s)", async (code, status) => {
    const { client, server, clock, tell } = world();
    client.connect();
    await clock.advance(10_000);
    server.socket.drop(code);
    tell("online");
    tell("visible");
    await clock.advance(600_000);

    expect(server.sockets).toHaveLength(1);
    expect(client.getSnapshot()).toMatchObject({ status, closeCode: code });
    client.connect();
    await clock.advance(10);
    expect(client.getSnapshot().isConnected).toBe(true);
  });

  it("waits as long as the server asked before a 4429", async () => {
    const { client, server, clock } = world();
    client.connect();
    await clock.advance(10_000);
    server.socket.push({
      type: "error",
      error: "Slow down.",
      code: "rate_limited",
      retryable: true,
      retry_after_ms: 30_000,
    });
    server.socket.drop(4429);
    await clock.advance(29_900);
    expect(server.sockets).toHaveLength(1);
    await clock.advance(2_000);
    expect(client.getSnapshot().isConnected).toBe(true);
  });
});

describe("reconnecting", () => {
  it("goes on without end by default, with growing waits up to 20 s", async () => {
    const { client, server, clock } = world();
    server.refuses = true;
    client.connect();
    await clock.advance(3_600_000);
    // With random = 0.5 the wait settles at 10.25 s: about 351 attempts an hour.
    expect(server.sockets.length).toBeGreaterThan(300);
    expect(server.sockets.length).toBeLessThan(400);
    server.refuses = false;
    await clock.advance(20_000);
    expect(client.getSnapshot()).toMatchObject({
      isConnected: true,
      reconnectAttempts: 0,
      error: null,
    });
  });

  it("honours maxReconnectAttempts, and starts anew when the network returns", async () => {
    const { client, server, clock, tell } = world({
      maxReconnectAttempts: 5,
      reconnectInterval: 3_000,
    });
    server.refuses = true;
    client.connect();
    await clock.advance(600_000);
    expect(server.sockets).toHaveLength(6);
    expect(client.getSnapshot().status).toBe("error");

    server.refuses = false;
    tell("online");
    await clock.advance(3_000);
    expect(client.getSnapshot().isConnected).toBe(true);
  });

  it("honours reconnectInterval as the least wait", async () => {
    const { client, server, clock } = world({ reconnectInterval: 3_000 }, { random: () => 0 });
    client.connect();
    await clock.advance(10_000);
    server.socket.drop(1006);
    await clock.advance(2_999);
    expect(server.sockets).toHaveLength(1);
    await clock.advance(1);
    expect(server.sockets).toHaveLength(2);
  });

  it("honours reconnect: false", async () => {
    const { client, server, clock } = world({ reconnect: false });
    client.connect();
    await clock.advance(10);
    server.socket.drop(1006);
    await clock.advance(600_000);

    expect(server.sockets).toHaveLength(1);
    expect(client.getSnapshot().status).toBe("error");
  });

  it.each(["online", "visible"] as const)(
    "comes back soon after %s, whatever the backoff had become",
    async (event) => {
      const { client, server, clock, tell } = world({}, { random: () => 0.99 });
      server.refuses = true;
      client.connect();
      await clock.advance(300_000);
      server.refuses = false;
      tell(event);
      await clock.advance(500);

      expect(client.getSnapshot().isConnected).toBe(true);
    },
  );

  it("backs off from a server that accepts and drops at once", async () => {
    const { client, server, clock } = world();
    server.onFrame = (socket, frame) => {
      if (frame.type === "ping") socket.drop(1011);
    };
    client.connect();
    await clock.advance(120_000);

    expect(server.sockets.length).toBeLessThan(20);
  });

  it("spreads a storm of clients over the window instead of bringing them back together", async () => {
    const shared = new FakeClock();
    let seed = 1;
    const random = () => (seed = (seed * 16807) % 2147483647) / 2147483647;
    const worlds = Array.from({ length: 200 }, () => world({}, { clock: shared, random }));
    worlds.forEach(({ client }) => client.connect());
    await shared.advance(10_000);
    worlds.forEach(({ server }) => {
      server.refuses = true;
      server.socket.drop(1006);
    });
    await shared.advance(60_000);
    const before = worlds.map(({ server }) => server.sockets.length);
    worlds.forEach(({ server }) => (server.refuses = false));
    let busiest = 0;
    let last = worlds.filter(({ client }) => client.getSnapshot().isConnected).length;
    for (let tick = 0; tick < 200; tick++) {
      await shared.advance(100);
      const now = worlds.filter(({ client }) => client.getSnapshot().isConnected).length;
      busiest = Math.max(busiest, now - last);
      last = now;
    }

    expect(last).toBe(200);
    expect(busiest).toBeLessThan(20);
    expect(Math.max(...before)).toBeLessThan(30);
  });

  it("ignores what an abandoned socket still says", async () => {
    const { client, server, clock } = world();
    client.connect();
    await clock.advance(10);
    const old = server.socket;
    const { onmessage, onclose } = old;
    client.disconnect();
    client.connect();
    await clock.advance(10);
    onmessage!({
      data: JSON.stringify({
        type: "server_draining",
        reconnect_after_ms: 0,
        timestamp: server.timestamp(),
      }),
    });
    onclose!({ code: 4403, reason: "" });
    await clock.advance(1_000);

    expect(client.getSnapshot()).toMatchObject({ isConnected: true, draining: false });
  });
});

describe("draining", () => {
  it("moves to another connection at the moment the server gave it", async () => {
    const { client, server, clock } = world();
    client.connect();
    await clock.advance(10_000);
    server.socket.push({ type: "server_draining", reconnect_after_ms: 4_000 });
    expect(client.getSnapshot().draining).toBe(true);
    await clock.advance(3_999);
    expect(server.sockets).toHaveLength(1);
    await clock.advance(1);

    expect(server.sockets).toHaveLength(2);
    expect(server.sockets[0]!.closedByClient).toBe(1000);
    expect(client.getSnapshot()).toMatchObject({ isConnected: true, draining: false });
  });

  it("waits for that moment also when the server closes before it", async () => {
    const { client, server, clock } = world();
    client.connect();
    await clock.advance(10_000);
    server.socket.push({ type: "server_draining", reconnect_after_ms: 4_000 });
    server.socket.drop(1012);
    await clock.advance(3_999);
    expect(server.sockets).toHaveLength(1);
    await clock.advance(1);
    expect(client.getSnapshot().isConnected).toBe(true);
  });
});

describe("keepalive", () => {
  it("pings after 25 s without frames and measures the round trip", async () => {
    const { client, server, clock } = world();
    client.connect();
    await clock.advance(24_999);
    expect(server.of("ping")).toHaveLength(1); // The first one measures the round trip at once.
    await clock.advance(1);
    expect(server.of("ping")).toHaveLength(2);
    expect(client.getSnapshot().rttMs).toBe(0);
  });

  it("does not ping while frames come, but for a fresh round trip each minute", async () => {
    const { client, server, clock } = world();
    client.connect();
    await clock.advance(0);
    for (let second = 0; second < 59; second++) {
      await clock.advance(1_000);
      server.socket.push({ type: "user_left", room_id: "r", connection_id: "c9" });
    }
    expect(server.of("ping")).toHaveLength(1);
  });

  it("treats a missing pong as a dead connection and reconnects", async () => {
    const { client, server, clock } = world();
    client.connect();
    await clock.advance(10_000);
    server.silent = true;
    await clock.advance(15_000 + 9_999);
    expect(server.sockets).toHaveLength(1);
    server.silent = false;
    await clock.advance(1 + 1_000);

    expect(server.sockets).toHaveLength(2);
    expect(server.sockets[0]!.closedByClient).toBe(4408);
    expect(client.getSnapshot().isConnected).toBe(true);
  });

  it.each(["visible", "online", "offline"] as const)(
    "checks at once whether the connection still lives on %s",
    async (event) => {
      const { client, server, clock, tell } = world();
      client.connect();
      await clock.advance(5_000);
      server.silent = true;
      tell(event);
      await clock.advance(10_000);
      expect(client.getSnapshot().status).toBe("reconnecting");
    },
  );
});

describe("tokens", () => {
  it("gets a fresh token for every attempt", async () => {
    let serial = 0;
    const { client, server, clock } = world({ getToken: async () => jwt("u1", ++serial) });
    client.connect();
    await clock.advance(10_000);
    server.socket.drop(1006);
    await clock.advance(1_000);

    expect(server.of("authenticate").map(({ token }) => token)).toEqual([
      jwt("u1", 1),
      jwt("u1", 2),
    ]);
  });

  it("replaces the token in place before it expires, by the server's clock", async () => {
    let serial = 0;
    const { client, server, clock } = world({ getToken: () => jwt("u1", ++serial) });
    server.tokenLifetimeMs = 900_000;
    server.clockOffsetMs = -5 * 3_600_000;
    client.connect();
    await clock.advance(800_000);
    expect(serial).toBe(1);
    await clock.advance(100_000);

    expect(serial).toBe(2);
    expect(server.sockets).toHaveLength(1);
    await clock.advance(900_000);
    expect(serial).toBe(3);
    expect(server.sockets).toHaveLength(1);
  });

  it("does not send a token again that it has already replaced the old one with", async () => {
    const tokens = [jwt("u1", 1)];
    const { client, server, clock } = world({ getToken: () => tokens.shift() ?? jwt("u1", 2) });
    server.tokenLifetimeMs = 300_000;
    client.connect();
    await clock.advance(290_000);
    client.tokenChanged();
    await clock.advance(1_000);

    expect(server.of("authenticate").map(({ token }) => token)).toEqual([
      jwt("u1", 1),
      jwt("u1", 2),
    ]);
  });

  it("asks again when the token could not be renewed, without losing the connection", async () => {
    let fail = false;
    let serial = 0;
    const getToken = () => {
      if (fail) throw new Error("offline");
      return jwt("u1", ++serial);
    };
    const { client, server, clock } = world({ getToken });
    server.tokenLifetimeMs = 300_000;
    client.connect();
    await clock.advance(200_000);
    fail = true;
    await clock.advance(50_000);
    fail = false;
    await clock.advance(20_000);

    expect(server.of("authenticate")).toHaveLength(2);
    expect(server.sockets).toHaveLength(1);
  });

  it("gets another token after 4401, and never sends the refused one again", async () => {
    const tokens = [jwt("u1", 1), jwt("u1", 1), jwt("u1", 2)];
    const { client, server, clock } = world({ getToken: () => tokens.shift() ?? jwt("u1", 3) });
    server.validTokens = new Set([jwt("u1", 2)]);
    client.connect();
    await clock.advance(10_000);

    expect(server.of("authenticate").map(({ token }) => token)).toEqual([
      jwt("u1", 1),
      jwt("u1", 2),
    ]);
    expect(client.getSnapshot().isConnected).toBe(true);
  });

  it("does not knock with a dead token again and again", async () => {
    const { client, server, clock } = world();
    server.validTokens = new Set();
    client.connect();
    await clock.advance(600_000);

    expect(server.sockets).toHaveLength(1);
    expect(client.getSnapshot()).toMatchObject({
      status: "reconnecting",
      error: { code: "no_token" },
    });
  });

  it("asks again for a token that could not be had, and keeps what getToken threw to itself", async () => {
    let fail = true;
    const errors: RealtimeError[] = [];
    const { client, clock } = world({
      getToken: async () => {
        if (fail) throw new Error("secret");
        return jwt("u1");
      },
    });
    client.on("error", ({ error }) => errors.push(error));
    client.connect();
    await clock.advance(5_000);
    expect(client.getSnapshot().status).toBe("reconnecting");
    expect(JSON.stringify([errors, client.getSnapshot().error?.message])).not.toContain("secret");
    fail = false;
    await clock.advance(10_000);
    expect(client.getSnapshot().isConnected).toBe(true);
  });

  it("reconnects as somebody else when the new token is another person's", async () => {
    let token = jwt("u1");
    const { client, server, clock } = world({ getToken: () => token });
    server.userOfToken = (given) => (given === jwt("u2") ? "u2" : "u1");
    client.connect();
    await clock.advance(1_000);
    token = jwt("u2");
    client.tokenChanged();
    await clock.advance(1_000);

    expect(server.sockets).toHaveLength(2);
    expect(client.getSnapshot().user?.id).toBe("u2");
  });
});

describe("noise", () => {
  it("ignores what breaks the protocol, with a clear error, and what it does not know, without", async () => {
    const { client, server, clock } = world();
    const errors: string[] = [];
    client.on("error", ({ error }) => errors.push(error.message));
    client.connect();
    await clock.advance(10);
    server.socket.pushRaw("not json");
    server.socket.pushRaw(new ArrayBuffer(3));
    server.socket.pushRaw("[]");
    server.socket.push({ type: "from_the_future", x: 1 });
    server.socket.push({ type: "constructor" });
    server.socket.push({ type: "state_update", learner_id: "l1", state: { cognitive_load: 7 } });
    await clock.advance(10);

    expect(errors).toEqual(["not JSON", "not JSON", "no type", "state_update.state"]);
    expect(client.getLearner("l1")).toBeUndefined();
    expect(client.getSnapshot().isConnected).toBe(true);
  });

  it("finishes what it is doing before it does what a listener asks for", async () => {
    const { client, server, clock } = world();
    client.on("open", () => client.disconnect());
    client.subscribeLearner("l1");
    client.connect();
    await clock.advance(10);

    expect(server.open).toHaveLength(0);
    expect(clock.pending).toBe(0);
    expect(client.getSnapshot().status).toBe("disconnected");
  });

  it("survives a listener that throws", async () => {
    const { client, server, clock } = world();
    const uncaught = vi.fn();
    process.once("uncaughtException", uncaught);
    client.on("open", () => {
      throw new Error("mine");
    });
    client.connect();
    await settle();
    await clock.advance(30_000);

    expect(client.getSnapshot().isConnected).toBe(true);
    expect(server.of("ping").length).toBeGreaterThan(1);
    expect(uncaught).toHaveBeenCalledOnce();
  });
});

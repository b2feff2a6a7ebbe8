/** The pure parts: backoff, ids, codes, the reducer's manners. */

import { existsSync, readFileSync } from "node:fs";
import { resolve } from "node:path";
import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { afterClose, closeCodes, errorCodes, reconnects } from "@aivo/realtime";
import { backoff } from "../src/core/backoff";
import { userOf, uuidv7Maker } from "../src/core/ids";
import { reduce } from "../src/core/machine/reduce";
import { defaultConfig, initialState, type Event } from "../src/core/machine/types";
import { jwt } from "./fakes";

describe("backoff", () => {
  it("stays between the least and the greatest wait", () => {
    fc.assert(
      fc.property(
        fc.nat({ max: 10_000 }),
        fc.double({ min: 0, max: 1, maxExcluded: true, noNaN: true }),
        (attempt, random) => {
          const wait = backoff(attempt, random, 500, 20_000);
          expect(wait).toBeGreaterThanOrEqual(500);
          expect(wait).toBeLessThanOrEqual(20_000);
        },
      ),
    );
  });

  it("grows with the attempts, and reaches the whole range", () => {
    expect([0, 1, 2, 3, 4, 5, 6].map((attempt) => backoff(attempt, 0.999999, 500, 20_000))).toEqual(
      [1000, 2000, 4000, 8000, 16000, 20000, 20000],
    );
    expect(backoff(9, 0, 500, 20_000)).toBe(500);
    expect(backoff(0, 0.5, 30_000, 20_000)).toBe(30_000);
  });
});

describe("interaction ids", () => {
  it("are UUIDv7, unique and growing, even when the clock stands still or steps back", () => {
    fc.assert(
      fc.property(
        fc.array(fc.integer({ min: 1e12, max: 1e12 + 5 }), { minLength: 2, maxLength: 200 }),
        (times) => {
          let index = 0;
          const make = uuidv7Maker(
            () => times[index++]!,
            (words) => crypto.getRandomValues(words),
          );
          const ids = times.map(make);
          expect(new Set(ids).size).toBe(ids.length);
          expect([...ids].sort()).toEqual(ids);
          for (const id of ids)
            expect(id).toMatch(
              /^[0-9a-f]{8}-[0-9a-f]{4}-7[0-9a-f]{3}-[89ab][0-9a-f]{3}-[0-9a-f]{12}$/,
            );
        },
      ),
    );
  });

  it("count on into the next millisecond when one is used up", () => {
    const make = uuidv7Maker(
      () => 1e12,
      () => {},
    );
    const ids = Array.from({ length: 5_000 }, make);
    expect([...ids].sort()).toEqual(ids);
    expect(new Set(ids).size).toBe(5_000);
  });
});

it("reads whose a JWT is, and null from anything else", () => {
  expect(userOf(jwt("u-1"))).toBe("u-1");
  for (const token of ["", "opaque", "a.b.c", `x.${btoa("{}")}.y`])
    expect(userOf(token)).toBeNull();
});

it("decides to reconnect exactly where the table of close codes does", () => {
  for (let code = 1000; code < 5000; code++)
    expect([code, reconnects(code)]).toEqual([code, afterClose(code) !== "stay_closed"]);
});

const protocol = resolve(import.meta.dirname, "../../docs/protocol.md");

describe.skipIf(!existsSync(protocol))("the tables of docs/protocol.md", () => {
  const page = existsSync(protocol) ? readFileSync(protocol, "utf8") : "";

  it("list the same close codes, with the same decision", () => {
    const rows = [...page.matchAll(/^\| (\d{4}) \| .*? \| (.*?) \|$/gm)].map(
      ([, code, then]) => [Number(code), then!] as const,
    );
    expect(rows.length).toBeGreaterThan(5);
    expect(rows.map(([code]) => code)).toEqual(Object.keys(closeCodes).map(Number));
    for (const [code, then] of rows)
      expect([code, reconnects(code)]).toEqual([code, !then.includes("stay closed")]);
  });

  it("list the same error codes", () => {
    const [, list = ""] = /keep the socket:([^.]*)\./.exec(page) ?? [];
    const listed = [...list.matchAll(/`([a-z_]+)`/g)].map(([, code]) => code);
    expect(new Set(listed)).toEqual(new Set(errorCodes));
  });
});

describe("the reducer", () => {
  const events: fc.Arbitrary<Event> = fc.oneof(
    fc.constantFrom<Event>(
      { type: "connect" },
      { type: "disconnect" },
      { type: "online" },
      { type: "visible" },
      { type: "offline" },
      { type: "token_changed" },
      { type: "want", kind: "learner", key: "l" },
      { type: "unwant", kind: "learner", key: "l" },
      { type: "queue_clear" },
      {
        type: "interact",
        item: {
          data: { learner_id: "l", type: "practice", content: "", interaction_id: "i" },
          queuedAt: 0,
          user: null,
          sentAt: null,
        },
      },
    ),
    fc.record({
      type: fc.constant("token" as const),
      request: fc.nat(9),
      token: fc.constantFrom("a", "b", null),
      user: fc.constantFrom(null, "u", "v"),
    }),
    fc.record({ type: fc.constantFrom("socket_open" as const), socket: fc.nat(9) }),
    fc.record({
      type: fc.constant("socket_close" as const),
      socket: fc.nat(9),
      code: fc.constantFrom(1000, 1006, 1009, 4401, 4403),
      reason: fc.constant(""),
    }),
    fc.record({
      type: fc.constant("timer" as const),
      name: fc.constantFrom(
        "reconnect",
        "attempt",
        "heartbeat",
        "pong",
        "refresh",
        "pump",
        "drain",
        "release",
      ),
    }),
    fc.record({
      type: fc.constant("socket_message" as const),
      socket: fc.nat(9),
      parsed: fc.constantFrom(
        {
          frame: {
            type: "connection_established" as const,
            connection_id: "c",
            timestamp: "2026-01-01T00:00:00.000Z",
          },
        },
        {
          frame: {
            type: "server_draining" as const,
            reconnect_after_ms: 5,
            timestamp: "2026-01-01T00:00:00.000Z",
          },
        },
        { frame: { type: "pong" as const, timestamp: "2026-01-01T00:00:00.000Z" } },
        { problem: "not JSON" },
        { unknown: "new" },
      ),
    }),
  ) as fc.Arbitrary<Event>;

  it("is pure, and after any events has at most one socket, which it knows", () => {
    fc.assert(
      fc.property(fc.array(events, { maxLength: 60 }), (list) => {
        let state = deepFreeze(initialState());
        const open = new Set<number>();
        for (const [index, event] of list.entries()) {
          const at = index * 1_000;
          const next = reduce(state, event, at, 0.5, defaultConfig);
          expect(reduce(state, event, at, 0.5, defaultConfig)).toEqual(next);
          for (const effect of next.effects) {
            if (effect.do === "open") open.add(effect.socket);
            if (effect.do === "close") open.clear();
            if (effect.do === "send") expect([...open]).toEqual([next.state.socket]);
          }
          if (event.type === "socket_close") open.delete(event.socket);
          expect(open.size).toBeLessThanOrEqual(1);
          state = deepFreeze(next.state);
        }
      }),
      { numRuns: 500 },
    );
  });
});

function deepFreeze<T>(value: T): T {
  if (typeof value !== "object" || value === null || Object.isFrozen(value)) return value;
  Object.freeze(value);
  Object.values(value).forEach(deepFreeze);
  return value;
}

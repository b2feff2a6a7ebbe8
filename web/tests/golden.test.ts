/**
 * Golden frames: `tests/golden/frames/<client|server>.<type>[.variant].json`, shared with the edge's tests. Each is a frame of the
 * protocol to our guards, and is written again byte for byte. Client frames are checked by shapes that exist only here, since
 * the client never reads them; the compiler keeps those equal to the types.
 */

import { existsSync, readdirSync, readFileSync } from "node:fs";
import { resolve } from "node:path";
import { describe, expect, it } from "vitest";
import type { ClientFrame } from "@aivo/realtime";
import { finite, list, needed, parseServerFrame, text } from "../src/core/guards";
import { record } from "../src/core/parse";

const folder = resolve(import.meta.dirname, "../../tests/golden/frames");
const files = existsSync(folder) ? readdirSync(folder).filter((name) => name.endsWith(".json")) : [];

type Check = (value: unknown) => boolean;
type FieldsOf<T> = { readonly [K in Exclude<keyof T, "type">]-?: Check };
const optional = (check: Check): Check => (value) => value === undefined || check(value);
const flag: Check = (value) => typeof value === "boolean";
const id = optional(text);
const shaped = <T>(shape: { readonly [K in keyof T]-?: Check }): Check => (value) =>
  record(value) && Object.keys(value).every((name) => name in shape) && Object.entries<Check>(shape).every(([name, check]) => check(value[name]));

/** Everything a client may send; an unknown field in a golden client frame is drift. */
const clientShapes: { readonly [T in ClientFrame["type"]]: FieldsOf<Extract<ClientFrame, { type: T }>> } = {
  authenticate: { id, token: text },
  subscribe_learner: {
    id, learner_id: text, resume: optional(shaped<{ epoch: 0; revision: 0 }>({ epoch: text, revision: finite })),
    mode: optional((value) => value === "latest" || value === "every"), min_interval_ms: optional(finite),
  },
  unsubscribe_learner: { id, learner_id: text },
  virtual_brain_interact: {
    id,
    data: shaped({
      learner_id: text, type: text, content: text, response: id, interaction_id: id, occurred_at: id,
      context: optional((value) =>
        record(value) && optional(flag)(value["correct"]) && optional(finite)(value["difficulty"])
        && optional((skill) => text(skill) || list(text)(skill))(value["skill"])),
    }),
  },
  get_state: { id, learner_id: text },
  adapt_content: {
    id,
    data: shaped({ learner_id: text, content: text, content_type: text, target_difficulty: optional(finite), focus_areas: optional(list(text)) }),
  },
  join_room: { id, room_id: text },
  leave_room: { id, room_id: text },
  room_message: { id, room_id: text, data: record },
  ping: { id, sent_at: () => true },
};

describe("golden frames", () => {
  if (files.length === 0) it.skip("there are none yet in tests/golden/frames", () => {});

  it.each(files)("%s is a frame we understand", (name) => {
    const [direction, type] = name.split(".");
    const content = readFileSync(resolve(folder, name), "utf8").trimEnd();
    const frame: unknown = JSON.parse(content);

    expect(JSON.stringify(frame)).toBe(content);
    expect(frame).toMatchObject({ type });
    if (direction === "server") expect(parseServerFrame(content)).toEqual({ frame });
    else expect(shaped<Record<string, unknown>>({ type: text, ...clientShapes[type as ClientFrame["type"]] })(frame)).toBe(true);
  });

  it.skipIf(files.length === 0)("exist for every type, and for no other", () => {
    const types = (direction: string) => new Set(files.filter((name) => name.startsWith(`${direction}.`)).map((name) => name.split(".")[1]));
    expect(types("server")).toEqual(new Set(Object.keys(needed)));
    expect(types("client")).toEqual(new Set(Object.keys(clientShapes)));
  });
});

describe("the guide's own frames", () => {
  const timestamp = "2025-11-23T10:00:00.000Z";
  const levels = { cognitive_load: 0.5, engagement_level: 0.5, frustration_level: 0, fatigue_level: 1, confidence_level: 0.5, motivation_level: 0.5 };
  it.each([
    { type: "connection_established", connection_id: "c", timestamp },
    { type: "state_update", learner_id: "l", state: levels, timestamp },
    { type: "virtual_brain_response", learner_id: "l", result: {}, timestamp },
    { type: "pong", timestamp },
    { type: "error", error: "No.", timestamp },
  ])("$type, with nothing added, is understood", (frame) => {
    expect(parseServerFrame(JSON.stringify(frame))).toEqual({ frame });
  });

  it.each([
    [{ type: "state_update", learner_id: "l", timestamp }, "state_update.state"],
    [{ type: "state_update", learner_id: 7, state: levels, timestamp }, "state_update.learner_id"],
    [{ type: "state_update", learner_id: "l", state: { ...levels, fatigue_level: 1.01 }, timestamp }, "state_update.state"],
    [{ type: "virtual_brain_response", learner_id: "l", result: { state: {} }, timestamp }, "virtual_brain_response.result"],
    [{ type: "server_draining", reconnect_after_ms: "soon", timestamp }, "server_draining.reconnect_after_ms"],
    [{ type: "pong" }, "pong.timestamp"],
  ])("of the wrong shape are refused by the field: %j", (frame, problem) => {
    expect(parseServerFrame(JSON.stringify(frame))).toEqual({ problem });
  });
});

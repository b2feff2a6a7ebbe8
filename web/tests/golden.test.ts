/**
 * Golden frames: `tests/golden/frames/<client|server>.<type>[.variant].json`, shared with the
 * edge's tests. Each is a frame of the protocol to our guards, and is written again byte for
 * byte. Client frames are checked by shapes that exist only here, since the client never reads
 * them; the compiler keeps those equal to the types. `frames.golden.ts` holds the same frames
 * for the compiler, which finds in them what the types forbid or do not know. The fields of each
 * type are those of the JSON Schema.
 */

import { existsSync, readdirSync, readFileSync } from "node:fs";
import { resolve } from "node:path";
import { describe, expect, it } from "vitest";
import type {
  AdaptationRequest,
  ClientFrame,
  InteractionResult,
  ServerFrame,
  VirtualBrainInteraction,
} from "@aivo/realtime";
import { finite, list, needed, parseServerFrame, text } from "../src/core/guards";
import { record } from "../src/core/parse";

const folder = resolve(import.meta.dirname, "../../tests/golden/frames");
const files = existsSync(folder)
  ? readdirSync(folder).filter((name) => name.endsWith(".json"))
  : [];

type Check = (value: unknown) => boolean;
type FieldsOf<T> = { readonly [K in Exclude<keyof T, "type">]-?: Check };
const optional =
  (check: Check): Check =>
  (value) =>
    value === undefined || check(value);
const flag: Check = (value) => typeof value === "boolean";
const id = optional(text);
const shaped =
  <T>(shape: { readonly [K in keyof T]-?: Check }): Check =>
  (value) =>
    record(value) &&
    Object.keys(value).every((name) => name in shape) &&
    Object.entries<Check>(shape).every(([name, check]) => check(value[name]));

const interaction: { readonly [K in keyof VirtualBrainInteraction]-?: Check } = {
  learner_id: text,
  type: text,
  content: text,
  response: id,
  interaction_id: id,
  occurred_at: id,
  traceparent: id,
  context: optional(
    (value) =>
      record(value) &&
      optional(flag)(value["correct"]) &&
      optional(finite)(value["difficulty"]) &&
      optional((skill) => text(skill) || list(text)(skill))(value["skill"]),
  ),
};
const adaptation: { readonly [K in keyof AdaptationRequest]-?: Check } = {
  learner_id: text,
  content: text,
  content_type: text,
  target_difficulty: optional(finite),
  focus_areas: optional(list(text)),
};

/** Everything a client may send; an unknown field in a golden client frame is drift. */
const clientShapes: {
  readonly [T in ClientFrame["type"]]: FieldsOf<Extract<ClientFrame, { type: T }>>;
} = {
  authenticate: { id, token: text },
  subscribe_learner: {
    id,
    learner_id: text,
    resume: optional(shaped<{ epoch: 0; revision: 0 }>({ epoch: text, revision: finite })),
    mode: optional((value) => value === "latest" || value === "every"),
    min_interval_ms: optional(finite),
  },
  unsubscribe_learner: { id, learner_id: text },
  virtual_brain_interact: {
    id,
    data: shaped<VirtualBrainInteraction>(interaction),
  },
  get_state: { id, learner_id: text },
  adapt_content: {
    id,
    data: shaped<AdaptationRequest>(adaptation),
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

    // JavaScript writes the number 3.0 as 3.
    expect(JSON.stringify(frame)).toBe(content.replaceAll(/(\d)\.0\b/g, "$1"));
    expect(frame).toMatchObject({ type });
    if (direction === "server") expect(parseServerFrame(content)).toEqual({ frame });
    else
      expect(
        shaped<Record<string, unknown>>({
          type: text,
          ...clientShapes[type as ClientFrame["type"]],
        })(frame),
      ).toBe(true);
  });

  it.skipIf(files.length === 0)(
    "stand in frames.golden.ts, where the compiler holds them against the types",
    async () => {
      const frames = (direction: string) =>
        files
          .filter((name) => name.startsWith(`${direction}.`))
          .sort()
          .map((name) => `  ${readFileSync(resolve(folder, name), "utf8").trim()},\n`)
          .join("");
      await expect(`// Written by golden.test.ts (with \`npx vitest run -u\`) from tests/golden/frames, for the compiler.
import type { ClientFrame, ServerFrame } from "@aivo/realtime";

export const client: readonly ClientFrame[] = [\n${frames("client")}];
export const server: readonly ServerFrame[] = [\n${frames("server")}];
`).toMatchFileSnapshot("frames.golden.ts");
    },
  );

  it.skipIf(files.length === 0)("exist for every type, and for no other", () => {
    const types = (direction: string) =>
      new Set(
        files.filter((name) => name.startsWith(`${direction}.`)).map((name) => name.split(".")[1]),
      );
    expect(types("server")).toEqual(new Set(Object.keys(needed)));
    expect(types("client")).toEqual(new Set(Object.keys(clientShapes)));
  });
});

/** Every field of a server frame; the compiler refuses to forget one, or to know one more. */
const answer = { id: 0, timestamp: 0 } as const;
const room = { ...answer, room_id: 0, connection_id: 0, user: 0 } as const;
const advice = { performance: 0, recommendations: 0, actions: 0, meaning: 0 } as const;
const details = {
  ...advice,
  mastery: 0,
  drivers: 0,
  explanations: 0,
  confidence: 0,
  uncertainty: 0,
  grades: 0,
  model_version: 0,
} as const;
const told = { ...answer, learner_id: 0, state: 0, epoch: 0, revision: 0, occurred_at: 0 } as const;
const serverFields: {
  readonly [T in ServerFrame["type"]]: {
    readonly [K in Exclude<keyof Extract<ServerFrame, { type: T }>, "type">]-?: 0;
  };
} = {
  connection_established: {
    ...answer,
    connection_id: 0,
    user: 0,
    expires_at: 0,
    heartbeat_ms: 0,
    limits: 0,
  },
  authenticated: { ...answer, expires_at: 0 },
  subscribed: { ...told, ...advice, success: 0, recovered: 0, missed: 0 },
  unsubscribed: { ...answer, learner_id: 0, code: 0, retryable: 0 },
  state_update: { ...told, ...advice, coalesced: 0, crossings: 0, trace_id: 0 },
  virtual_brain_response: {
    ...answer,
    learner_id: 0,
    result: 0,
    interaction_id: 0,
    revision: 0,
    duplicate: 0,
    trace_id: 0,
  },
  state_response: { ...told, ...details },
  content_adapted: {
    ...answer,
    learner_id: 0,
    original_content: 0,
    adapted_content: 0,
    changes: 0,
  },
  room_joined: { ...room, members: 0, member_count: 0 },
  room_left: room,
  user_joined: room,
  user_left: room,
  room_message: { ...room, data: 0 },
  pong: { ...answer, sent_at: 0 },
  server_draining: { ...answer, reconnect_after_ms: 0 },
  error: {
    ...answer,
    error: 0,
    code: 0,
    retryable: 0,
    retry_after_ms: 0,
    message_type: 0,
    trace_id: 0,
  },
};
const { explanations: _onlyWhenAsked, ...answered } = details;
const resultFields: { readonly [K in keyof InteractionResult]-?: 0 } = {
  ...answered,
  success: 0,
  state: 0,
  predicted_correct: 0,
  item_confidence: 0,
  processing_time: 0,
};

interface Definition {
  readonly oneOf?: readonly { readonly $ref: string }[];
  readonly properties?: Readonly<Record<string, { readonly enum?: readonly string[] }>>;
  readonly required?: readonly string[];
}
const schemaFile = resolve(import.meta.dirname, "../../docs/protocol.schema.json");

describe.skipIf(!existsSync(schemaFile))("docs/protocol.schema.json", () => {
  const { $defs } = existsSync(schemaFile)
    ? (JSON.parse(readFileSync(schemaFile, "utf8")) as { $defs: Record<string, Definition> })
    : { $defs: {} };
  const definitions = (name: string) =>
    ($defs[name]?.oneOf ?? []).map(({ $ref }) => $defs[$ref.slice("#/$defs/".length)]!);
  const types = (name: string) =>
    definitions(name).map(({ properties }) => properties!["type"]!.enum![0]!);
  const fieldsIn = ({ properties }: Definition) =>
    Object.keys(properties!)
      .filter((field) => field !== "type")
      .sort();

  it("has the types that we have", () => {
    expect(types("ServerFrame").sort()).toEqual(Object.keys(serverFields).sort());
    expect(types("ClientFrame").sort()).toEqual(Object.keys(clientShapes).sort());
  });

  it.each(
    definitions("ServerFrame").map(
      (definition) =>
        [definition.properties!["type"]!.enum![0] as ServerFrame["type"], definition] as const,
    ),
  )(
    "%s from the server has the fields that we know, and never lacks one that we need",
    (type, definition) => {
      // An `id` is echoed; what nobody asked for has none, and we would not mind.
      const known = Object.keys(serverFields[type]).sort();
      expect(fieldsIn(definition)).toEqual(
        definition.properties!["id"] ? known : known.filter((field) => field !== "id"),
      );
      expect(definition.required).toEqual(expect.arrayContaining([...needed[type], "timestamp"]));
    },
  );

  it.each(
    definitions("ClientFrame").map(
      (definition) =>
        [definition.properties!["type"]!.enum![0] as ClientFrame["type"], definition] as const,
    ),
  )(
    "%s to the server has the fields that we know, and needs none that we may leave out",
    (type, definition) => {
      expect(fieldsIn(definition)).toEqual(Object.keys(clientShapes[type]).sort());
    },
  );

  it("has the same fields inside them", () => {
    expect(Object.keys($defs["Assessment"]!.properties!).sort()).toEqual(
      Object.keys(resultFields).sort(),
    );
    expect(Object.keys($defs["InteractionData"]!.properties!).sort()).toEqual(
      Object.keys(interaction).sort(),
    );
    expect(Object.keys($defs["AdaptData"]!.properties!).sort()).toEqual(
      Object.keys(adaptation).sort(),
    );
  });
});

describe("the guide's own frames", () => {
  const timestamp = "2025-11-23T10:00:00.000Z";
  const levels = {
    cognitive_load: 0.5,
    engagement_level: 0.5,
    frustration_level: 0,
    fatigue_level: 1,
    confidence_level: 0.5,
    motivation_level: 0.5,
  };
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
    [
      {
        type: "state_update",
        learner_id: "l",
        state: { ...levels, fatigue_level: 1.01 },
        timestamp,
      },
      "state_update.state",
    ],
    [
      { type: "virtual_brain_response", learner_id: "l", result: { state: {} }, timestamp },
      "virtual_brain_response.result",
    ],
    [
      { type: "server_draining", reconnect_after_ms: "soon", timestamp },
      "server_draining.reconnect_after_ms",
    ],
    [{ type: "pong" }, "pong.timestamp"],
  ])("of the wrong shape are refused by the field: %j", (frame, problem) => {
    expect(parseServerFrame(JSON.stringify(frame))).toEqual({ problem });
  });
});

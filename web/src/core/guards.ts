/**
 * Checks that a parsed JSON value is a frame of the protocol. A field name means the same kind
 * of value in every frame, so there is one check per name and a list of the fields each type
 * cannot do without. Unknown fields and unknown types pass.
 */

import type {
  CognitiveState,
  Meaning,
  Assessment,
  PerformanceMetrics,
  ServerFrame,
} from "./frames";
import { isLevel, parseLoosely, record, type Parsed } from "./parse";

type Check = (value: unknown) => boolean;
type Fields = Readonly<Record<string, Check>>;

export const text = (value: unknown): value is string => typeof value === "string";
export const finite = (value: unknown): value is number => Number.isFinite(value);
const flag: Check = (value) => typeof value === "boolean";
const anything: Check = () => true;
export const list =
  (check: Check): Check =>
  (value) =>
    Array.isArray(value) && value.every(check);
const nullable =
  (check: Check): Check =>
  (value) =>
    value === null || check(value);

/** An object in which every named field is present and right. */
const all =
  <T>(fields: { readonly [K in keyof T]-?: Check }): Check =>
  (value) =>
    record(value) && Object.entries<Check>(fields).every(([name, check]) => check(value[name]));

/** The name of the first field that is present and wrong, or null. */
export function wrongField(fields: Fields, value: Record<string, unknown>): string | null {
  for (const name in value)
    if (Object.hasOwn(fields, name) && !fields[name]!(value[name])) return name;
  return null;
}

const state = all<CognitiveState>({
  cognitive_load: isLevel,
  engagement_level: isLevel,
  frustration_level: isLevel,
  fatigue_level: isLevel,
  confidence_level: isLevel,
  motivation_level: isLevel,
});
const user = all<{ id: string }>({ id: text });

/** The fields of `Assessment`; they may come with any frame that tells of a learner. */
export const details: { readonly [K in keyof Assessment]-?: Check } = {
  performance: nullable(
    all<PerformanceMetrics>({
      accuracy: finite,
      response_time: finite,
      consistency: finite,
      improvement_rate: finite,
    }),
  ),
  mastery: record,
  recommendations: list(text),
  actions: list(record),
  drivers: record,
  explanations: record,
  meaning: all<Meaning>({
    bands: record,
    usual: state,
    spread: state,
    deviation: record,
    attention: record,
    struggle: (value) => value === undefined || record(value),
    too_early: (value) => value === undefined || record(value),
  }),
  confidence: anything,
  uncertainty: record,
  grades: record,
  model_version: text,
};

type FieldOf<F> = F extends ServerFrame ? Exclude<keyof F, "type"> : never;

/**
 * What each field of a server frame must be when it is there; the compiler refuses to forget one.
 */
const fields: { readonly [K in FieldOf<ServerFrame>]: Check } = {
  ...details,
  id: text,
  timestamp: text,
  connection_id: text,
  learner_id: text,
  room_id: text,
  interaction_id: text,
  trace_id: text,
  epoch: text,
  code: text,
  error: text,
  message_type: nullable(text),
  expires_at: nullable(text),
  occurred_at: text,
  original_content: text,
  adapted_content: text,
  revision: finite,
  coalesced: finite,
  member_count: finite,
  heartbeat_ms: finite,
  reconnect_after_ms: finite,
  retry_after_ms: nullable(finite),
  success: flag,
  recovered: flag,
  duplicate: flag,
  retryable: flag,
  state: nullable(state),
  user,
  limits: record,
  data: record,
  crossings: list(anything),
  changes: list(anything),
  members: list(all<{ connection_id: string }>({ connection_id: text })),
  sent_at: anything,
  missed: (value) =>
    finite(value) ||
    list(all<{ state: unknown; timestamp: string }>({ state, timestamp: text }))(value),
  result: (value) => record(value) && wrongField(fields, value) === null,
};

/** The fields of a type that are not optional, beside `timestamp`, which every frame has. */
type Needed<F> = { [K in keyof F]-?: undefined extends F[K] ? never : K }[keyof F];
type NeededBy<T> = Exclude<Needed<Extract<ServerFrame, { type: T }>>, "type" | "timestamp">;

/** What each type cannot do without. */
export const needed: { readonly [T in ServerFrame["type"]]: readonly NeededBy<T>[] } = {
  connection_established: ["connection_id"],
  authenticated: [],
  subscribed: ["learner_id"],
  unsubscribed: ["learner_id"],
  state_update: ["learner_id", "state"],
  virtual_brain_response: ["learner_id", "result"],
  state_response: ["learner_id", "state"],
  content_adapted: ["learner_id", "original_content", "adapted_content"],
  room_joined: ["room_id"],
  room_left: ["room_id"],
  user_joined: ["room_id"],
  user_left: ["room_id"],
  room_message: ["room_id", "data"],
  pong: [],
  server_draining: ["reconnect_after_ms"],
  error: ["error"],
};

/** Read one text frame of the server, checking every field. Never throws. */
export function parseServerFrame(data: unknown): Parsed {
  const parsed = parseLoosely(data);
  if (!("frame" in parsed)) return parsed;
  const { frame } = parsed;
  if (!Object.hasOwn(needed, frame.type)) return { unknown: frame.type };
  const value = frame as unknown as Record<string, unknown>;
  const wrong =
    needed[frame.type].find((name) => value[name] === undefined) ?? wrongField(fields, value);
  return wrong === null ? parsed : { problem: `${frame.type}.${wrong}` };
}

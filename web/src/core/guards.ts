/** Checks that a parsed JSON value is a frame of the protocol. Unknown fields pass; a field of the wrong kind does not. */

import type { CognitiveState, PerformanceMetrics, Position, RoomMember, ServerFrame, UserInfo } from "./frames";

export type Check<V> = (value: unknown) => value is V;
/** One check per field; the compiler refuses a field that is missing here or checked as something else. */
export type Shape<T> = { readonly [K in Exclude<keyof T, "type">]-?: Check<T[K]> };

export const text: Check<string> = (value): value is string => typeof value === "string";
export const finite: Check<number> = (value): value is number => Number.isFinite(value);
export const flag: Check<boolean> = (value): value is boolean => typeof value === "boolean";
export const anything = (_value: unknown): _value is any => true;
export const record: Check<Record<string, unknown>> = (value): value is Record<string, unknown> =>
  typeof value === "object" && value !== null && !Array.isArray(value);
export const optional = <V>(check: Check<V>): Check<V | undefined> =>
  (value): value is V | undefined => value === undefined || check(value);
export const nullable = <V>(check: Check<V>): Check<V | null> =>
  (value): value is V | null => value === null || check(value);
export const either = <A, B>(one: Check<A>, other: Check<B>): Check<A | B> =>
  (value): value is A | B => one(value) || other(value);
export const list = <V>(check: Check<V>): Check<readonly V[]> =>
  (value): value is readonly V[] => Array.isArray(value) && value.every(check);
export const shaped = <T extends object>(shape: Shape<T>): Check<T> =>
  (value): value is T => record(value) && failingField(shape as unknown as Fields, value) === null;

type Fields = Readonly<Record<string, Check<unknown>>>;

/** The name of the first field that fails its check, or null. */
export function failingField(fields: Fields, value: Record<string, unknown>): string | null {
  for (const name in fields) if (!fields[name]!(value[name])) return name;
  return null;
}

const level: Check<number> = (value): value is number => finite(value) && value >= 0 && value <= 1;
const state = shaped<CognitiveState>({
  cognitive_load: level,
  engagement_level: level,
  frustration_level: level,
  fatigue_level: level,
  confidence_level: level,
  motivation_level: level,
});
const performance = shaped<PerformanceMetrics>({
  accuracy: finite,
  response_time: finite,
  consistency: finite,
  improvement_rate: finite,
});
export const position = shaped<Position>({ epoch: text, revision: finite });
const optText = optional(text);
const optFlag = optional(flag);
const optNumber = optional(finite);
const optRecord = optional(record);
const user = optional(shaped<UserInfo>({ id: text, role: optText }));
const answer = { timestamp: text, id: optText };
const details = {
  performance: optional(performance),
  mastery: optRecord,
  recommendations: optional(list(text)),
  actions: optional(list(anything)),
  drivers: optRecord,
  confidence: anything,
  uncertainty: optRecord,
  grades: optRecord,
  model_version: optText,
};
const place = { epoch: optText, revision: optNumber };
const expiry = optional(nullable(text));
const room = { ...answer, room_id: text, connection_id: optText, user };
const update: Check<any> = (value): value is any => record(value) && state(value["state"]) && text(value["timestamp"]);

type FrameOf<T extends ServerFrame["type"]> = Extract<ServerFrame, { type: T }>;

/** The shape of every server frame, by type. */
export const serverShapes: { readonly [T in ServerFrame["type"]]: Shape<FrameOf<T>> } = {
  connection_established: {
    ...answer, connection_id: text, user, expires_at: expiry, heartbeat_ms: optNumber, limits: optRecord,
  },
  authenticated: { ...answer, expires_at: expiry },
  subscribed: {
    ...answer, ...place, ...details, learner_id: text, success: optFlag, recovered: optFlag,
    state: optional(nullable(state)), missed: optional(either(finite, list(update))),
  },
  unsubscribed: { ...answer, learner_id: text, code: optText, retryable: optFlag },
  state_update: {
    ...answer, ...place, ...details, learner_id: text, state, coalesced: optNumber,
    crossings: optional(list(anything)), trace_id: optText,
  },
  virtual_brain_response: {
    ...answer, ...place, learner_id: text, interaction_id: optText, duplicate: optFlag, trace_id: optText,
    result: shaped({
      ...details, success: optFlag, state: optional(state), processing_time: optNumber,
      predicted_correct: optional(nullable(finite)),
    }),
  },
  state_response: { ...answer, ...place, ...details, learner_id: text, state: nullable(state) },
  content_adapted: {
    ...answer, learner_id: text, original_content: text, adapted_content: text, changes: optional(list(anything)),
  },
  room_joined: {
    ...room, members: optional(list(shaped<RoomMember>({ connection_id: text, user }))),
  },
  room_left: room,
  user_joined: room,
  user_left: room,
  room_message: { ...room, data: record },
  pong: { ...answer, sent_at: anything },
  server_draining: { ...answer, reconnect_after_ms: finite },
  error: {
    ...answer, error: text, code: optText, retryable: optFlag, retry_after_ms: optional(nullable(finite)),
    message_type: optional(nullable(text)), trace_id: optText,
  },
};

/** What became of a received text: a frame, a type this client does not know (safe to ignore), or a reason why it is none. */
export type Parsed =
  | { readonly frame: ServerFrame }
  | { readonly unknown: string }
  | { readonly problem: string };

/** Read one text frame of the server. Never throws. */
export function parseServerFrame(data: unknown): Parsed {
  let value: unknown;
  try {
    value = JSON.parse(data as string);
  } catch {
    return { problem: "not JSON" };
  }
  if (!record(value) || !text(value["type"])) return { problem: "no type" };
  const type = value["type"];
  if (!Object.hasOwn(serverShapes, type)) return { unknown: type };
  const field = failingField(serverShapes[type as ServerFrame["type"]] as unknown as Fields, value);
  return field === null ? { frame: value as unknown as ServerFrame } : { problem: `${type}.${field}` };
}

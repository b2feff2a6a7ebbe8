/**
 * Reads a received text as far as the machine relies on it. The full check is `guards.ts`, which
 * costs its weight.
 */

import type { ServerFrame } from "./frames";

/**
 * What became of a received text: a frame, a type this client does not know (safe to ignore), or a
 * reason why it is none.
 */
export type Parsed =
  { readonly frame: ServerFrame } | { readonly unknown: string } | { readonly problem: string };

export const record = (value: unknown): value is Record<string, unknown> =>
  typeof value === "object" && value !== null && !Array.isArray(value);

/** JSON with a type and a time; the six levels, where there are some, are levels. Never throws. */
export function parseLoosely(data: unknown): Parsed {
  let frame: unknown;
  try {
    frame = JSON.parse(data as string);
  } catch {
    return { problem: "not JSON" };
  }
  if (!record(frame) || typeof frame["type"] !== "string") return { problem: "no type" };
  if (typeof frame["timestamp"] !== "string") return { problem: `${frame["type"]}.timestamp` };
  const { state } = record(frame["result"]) ? frame["result"] : frame;
  if (state != null && !(record(state) && Object.values(state).every(isLevel)))
    return { problem: `${frame["type"]}.state` };
  return { frame: frame as unknown as ServerFrame };
}

export const isLevel = (value: unknown): value is number =>
  (value as number) >= 0 && (value as number) <= 1 && typeof value === "number";

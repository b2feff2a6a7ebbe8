/** A learner's stored past as far as it is here: how it grows, and what is still to ask for. Pure. */

import type { CognitiveState, Meaning, PerformanceMetrics } from "@aivo/realtime";

/** One interaction with the state after it, as `/api/learners/{id}/history` tells. */
export interface Entry {
  readonly revision: number;
  readonly interaction_id: string;
  readonly type: string;
  readonly content: string;
  readonly response: string | null;
  readonly context: {
    readonly correct?: unknown;
    readonly skill?: unknown;
    readonly [more: string]: unknown;
  };
  readonly occurred_at: string;
  readonly state: CognitiveState;
  readonly performance: PerformanceMetrics;
  readonly meaning?: Meaning;
  /** Of the skills that it touched, after it. */
  readonly mastery: Readonly<Record<string, number>>;
}

/** A page of entries, oldest first. */
export interface Page {
  readonly epoch: string;
  readonly entries: readonly Entry[];
  readonly has_more: boolean;
}

export interface Past {
  readonly epoch: string;
  /** Without a gap, oldest first. */
  readonly entries: readonly Entry[];
  /** Whether the store has nothing older. */
  readonly isWhole: boolean;
  /** How many older ones are asked for at once. */
  readonly step: number;
}

/** Nobody scrolls through more, and a tablet must hold it. */
export const mostEntries = 6_000;
const atFirst = 300;
const atOnce = 500;
/** A pause that ends a session in the model, too. */
export const sessionGapMs = 30 * 60_000;

export const at = ({ occurred_at }: Pick<Entry, "occurred_at">) => Date.parse(occurred_at);

/** A question to the server: the newest, what is newer than the past, or what is older. */
export type Question =
  | { readonly kind: "newest"; readonly query: string }
  | { readonly kind: "newer"; readonly query: string }
  | { readonly kind: "older"; readonly query: string };

/**
 * What to ask next; null when everything is here. `known` is what is known of the learner from
 * elsewhere, `sinceMs` how far back is wanted (null: to the beginning of the last session).
 */
export function nextQuestion(
  past: Past | null,
  known: { readonly epoch: string | null; readonly revision: number | null },
  sinceMs: number | null,
): Question | null {
  if (past === null || (known.epoch !== null && known.epoch !== past.epoch))
    return { kind: "newest", query: `newest=true&limit=${atFirst}` };
  const last = past.entries.at(-1)?.revision ?? 0;
  if ((known.revision ?? 0) > last) return { kind: "newer", query: `after=${last}&limit=1000` };
  if (past.isWhole || past.entries.length >= mostEntries || reaches(past.entries, sinceMs))
    return null;
  const before = past.entries[0]!.revision - 1;
  const size = Math.min(past.step, before);
  return { kind: "older", query: `after=${before - size}&limit=${size}` };
}

/** Whether there is an entry from before what is wanted. */
function reaches(entries: readonly Entry[], sinceMs: number | null): boolean {
  const [first] = entries;
  if (!first) return false;
  return sinceMs === null ? sessionStart(entries) > 0 : at(first) < sinceMs;
}

/** Where the last session begins. */
export function sessionStart(entries: readonly Entry[]): number {
  let first = Math.max(0, entries.length - 1);
  while (first > 0 && at(entries[first]!) - at(entries[first - 1]!) <= sessionGapMs) first -= 1;
  return first;
}

/** Take in an answer. */
export function withPage(past: Past | null, { kind }: Question, page: Page): Past {
  const { epoch, entries } = page;
  if (past === null || kind === "newest" || past.epoch !== epoch)
    return { epoch, entries, isWhole: (entries[0]?.revision ?? 1) === 1, step: atOnce };
  if (kind === "newer") {
    const last = past.entries.at(-1)?.revision ?? 0;
    const newer = entries.filter(({ revision }) => revision > last);
    const all = [...past.entries, ...newer];
    return {
      ...past,
      entries: all.slice(-mostEntries),
      isWhole: past.isWhole && all.length <= mostEntries,
    };
  }
  const first = past.entries[0]?.revision ?? Infinity;
  const older = entries.filter(({ revision }) => revision < first);
  if (older.length === 0) return { ...past, isWhole: true };
  // Where entries are large a page ends early, before those that are here: ask for fewer.
  if (older.at(-1)!.revision !== first - 1)
    return { ...past, step: Math.ceil(older.length / 2), isWhole: past.step === 1 };
  const isWhole = older[0]!.revision === 1;
  return { ...past, entries: [...older, ...past.entries], isWhole };
}

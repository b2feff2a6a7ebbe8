/** Which part of the past is looked at: this session, today, or four weeks. Pure. */

import { levels } from "@aivo/realtime/react";
import type { CognitiveState } from "@aivo/realtime";
import { timeRange, type Range } from "../parts/axis";
import { at, sessionGapMs, sessionStart, type Entry } from "./past";

export const spans = ["session", "today", "weeks"] as const;
export type Span = (typeof spans)[number];

/** What a span is called. */
export const spanNames: Readonly<Record<Span, string>> = {
  session: "This session",
  today: "Today",
  weeks: "4 weeks",
};

const weeksMs = 28 * 86_400_000;

/** From when on entries are wanted, ms since 1970; null: from the beginning of the last session. */
export function sinceOf(span: Span, now: number): number | null {
  if (span === "session") return null;
  return span === "today" ? midnight(now) : now - weeksMs;
}

/** The entries of a span. */
export function within(span: Span, entries: readonly Entry[], now: number): readonly Entry[] {
  const since = sinceOf(span, now);
  return since === null
    ? entries.slice(sessionStart(entries))
    : entries.filter((entry) => at(entry) >= since);
}

/** The range of time that a chart of these entries shows. */
export function rangeOf(span: Span, used: readonly Entry[], now: number): Range {
  const first = used[0] ? at(used[0]) / 1_000 : null;
  const last = used.at(-1) ? at(used.at(-1)!) / 1_000 : null;
  if (span === "weeks")
    return timeRange(
      first === null ? null : midnight(first * 1_000) / 1_000,
      now / 1_000,
      now / 1_000,
    );
  return timeRange(first, last, now / 1_000);
}

function midnight(ms: number): number {
  return new Date(ms).setHours(0, 0, 0, 0);
}

type Values = readonly (number | null)[];

/** What a chart draws. */
export interface Table {
  /** Seconds since 1970. */
  readonly times: readonly number[];
  /** One row per level, in the order of `levels`. */
  readonly rows: readonly Values[];
  /** What each moment was, in words; null where a line is broken. */
  readonly words: readonly (string | null)[];
  /** The revision of each moment; null where it is none or many. */
  readonly revisions: readonly (number | null)[];
}

/** A moment per entry; a row of nulls where a session ended, so that no line runs through the night. */
export function tableOf(entries: readonly Entry[], word: (entry: Entry) => string): Table {
  const table = emptyTable();
  entries.forEach((entry, i) => {
    const before = i > 0 ? at(entries[i - 1]!) : at(entry);
    if (at(entry) - before > sessionGapMs) push(table, before / 1_000 + 1, null, null, null);
    push(table, at(entry) / 1_000, entry.state, word(entry), entry.revision);
  });
  return table;
}

/** A moment per session: its means. */
export function sessionTable(entries: readonly Entry[]): Table {
  const table = emptyTable();
  for (const session of sessionsOf(entries)) {
    const middle = (at(session[0]!) + at(session.at(-1)!)) / 2_000;
    const mean = Object.fromEntries(
      levels.map(({ key }) => [
        key,
        session.reduce((sum, { state }) => sum + state[key], 0) / session.length,
      ]),
    ) as unknown as CognitiveState;
    push(table, middle, mean, sessionInWords(session), null);
  }
  return table;
}

/** The entries in sessions. */
export function sessionsOf(entries: readonly Entry[]): readonly (readonly Entry[])[] {
  const sessions: Entry[][] = [];
  for (const entry of entries) {
    const last = sessions.at(-1);
    if (last && at(entry) - at(last.at(-1)!) <= sessionGapMs) last.push(entry);
    else sessions.push([entry]);
  }
  return sessions;
}

function sessionInWords(session: readonly Entry[]): string {
  const marks = session
    .map(({ context }) => context.correct)
    .filter((one) => typeof one === "boolean");
  const right = marks.filter(Boolean).length;
  const answers = marks.length === 1 ? "1 answer" : `${marks.length} answers`;
  return marks.length === 0 ? "no answers" : `${answers}, ${right} right`;
}

interface Growing extends Table {
  readonly times: number[];
  readonly rows: (number | null)[][];
  readonly words: (string | null)[];
  readonly revisions: (number | null)[];
}

function emptyTable(): Growing {
  return { times: [], rows: levels.map(() => []), words: [], revisions: [] };
}

function push(
  { times, rows, words, revisions }: Growing,
  second: number,
  state: CognitiveState | null,
  word: string | null,
  revision: number | null,
): void {
  times.push(second);
  levels.forEach(({ key }, i) => rows[i]!.push(state ? state[key] : null));
  words.push(word);
  revisions.push(revision);
}

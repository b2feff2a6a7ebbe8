/**
 * How good the connection is, for people: from the round trip, the age of what is shown, and gaps.
 */

import type { State } from "./machine/types";

/** From best to worst. */
export type QualityLevel = "excellent" | "good" | "fair" | "poor" | "offline";

/** The figures behind the level. */
export interface ConnectionQuality {
  readonly level: QualityLevel;
  /** Last measured round trip in milliseconds; null before the first. */
  readonly rttMs: number | null;
  /**
   * How old what is shown may be, in milliseconds: the time since the connection last proved
   * itself alive (until then the server had told us everything), or how late the last update
   * arrived, whichever is more. Null before the first connection.
   */
  readonly ageMs: number | null;
  /** Times that updates were found missing in the last minute. */
  readonly gaps: number;
}

/**
 * Bounds per level: round trip ms, age ms, gaps. The age of a silent, healthy connection reaches
 * one heartbeat (25 s).
 */
const bounds: readonly (readonly [QualityLevel, number, number, number])[] = [
  ["excellent", 100, 26_000, 0],
  ["good", 300, 27_000, 0],
  ["fair", 1_000, 30_000, 2],
];

/**
 * The quality at a moment. It worsens by mere passing of time, so ask again now and then while
 * showing it.
 */
export function connectionQuality(state: State, now: number): ConnectionQuality {
  const { rttMs, heardAt, lagMs } = state;
  const ageMs = heardAt === null ? null : Math.max(0, now - heardAt, lagMs);
  const gaps = state.gaps.filter((at) => now - at < 60_000).length;
  const fits = bounds.find(
    ([, rtt, age, missing]) => (rttMs ?? 0) <= rtt && (ageMs ?? 0) <= age && gaps <= missing,
  );
  return { level: state.phase === "open" ? (fits?.[0] ?? "poor") : "offline", rttMs, ageMs, gaps };
}

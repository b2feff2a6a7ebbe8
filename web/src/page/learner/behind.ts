/** Which answers are behind a number. Pure. */

import type { CognitiveState } from "@aivo/realtime";
import { at, sessionGapMs, sessionStart, type Entry } from "./past";

/** What is asked about. */
export type Focus =
  | { readonly kind: "latest" }
  | { readonly kind: "level"; readonly key: keyof CognitiveState }
  | { readonly kind: "skill"; readonly skill: string }
  | { readonly kind: "moment"; readonly revision: number };

/** An answer with what it did to the number that is asked about. */
export interface Behind {
  readonly entry: Entry;
  /** By how much it moved the number, in units of the level or the mastery; null when unknown. */
  readonly moved: number | null;
  /** The number after it; null when none is asked about. */
  readonly became: number | null;
  readonly isChosen: boolean;
}

const most = 8;
/** Smaller movements explain nothing: one point of a hundred. */
const least = 0.005;
/** Around a chosen moment. */
const neighbours = 3;

/** The answers to show, newest first. */
export function behind(entries: readonly Entry[], focus: Focus): readonly Behind[] {
  const plain = (entry: Entry): Behind => ({ entry, moved: null, became: null, isChosen: false });
  switch (focus.kind) {
    case "latest":
      return entries.slice(-most).reverse().map(plain);
    case "moment": {
      const i = entries.findIndex(({ revision }) => revision === focus.revision);
      return entries
        .slice(Math.max(0, i - neighbours), i + neighbours + 1)
        .reverse()
        .map((entry) => ({ ...plain(entry), isChosen: entry.revision === focus.revision }));
    }
    case "level":
      return behindLevel(entries, focus.key);
    case "skill":
      return behindSkill(entries, focus.skill);
  }
}

/** Those of the session that moved a level most. */
function behindLevel(entries: readonly Entry[], key: keyof CognitiveState): readonly Behind[] {
  return entries
    .slice(sessionStart(entries))
    .map((entry, i, all): Behind => {
      const before = all[i - 1];
      const follows = before !== undefined && at(entry) - at(before) <= sessionGapMs;
      const moved = follows ? entry.state[key] - before.state[key] : null;
      return { entry, moved, became: entry.state[key], isChosen: false };
    })
    .filter(({ moved }) => moved !== null && Math.abs(moved) >= least)
    .sort((a, b) => Math.abs(b.moved!) - Math.abs(a.moved!))
    .slice(0, most)
    .sort((a, b) => b.entry.revision - a.entry.revision);
}

/** The last on a skill. */
function behindSkill(entries: readonly Entry[], skill: string): readonly Behind[] {
  const touched = entries.filter(({ mastery }) => skill in mastery);
  return touched
    .map((entry, i): Behind => {
      const before = touched[i - 1]?.mastery[skill];
      const became = entry.mastery[skill]!;
      return {
        entry,
        moved: before === undefined ? null : became - before,
        became,
        isChosen: false,
      };
    })
    .slice(-most)
    .reverse();
}

/** A skill's mastery over time: a point per answer on it. */
export function masteryOver(
  entries: readonly Entry[],
  skill: string,
): readonly (readonly [at: number, value: number])[] {
  return entries.flatMap((entry) =>
    skill in entry.mastery ? [[at(entry), entry.mastery[skill]!] as const] : [],
  );
}

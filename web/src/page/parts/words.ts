/** Says in words what the model says in numbers. Display only; pure. */

import type { CognitiveState, Assessment } from "@aivo/realtime";

type Level = keyof CognitiveState;

/** Per level and driver: what it means when the driver raises the level, and when it lowers it. */
const meanings: Readonly<
  Record<Level, Readonly<Record<string, readonly [raises: string, lowers: string]>>>
> = {
  cognitive_load: {
    declared: ["hard tasks", "easy tasks"],
    demand: ["tasks above present ability", "tasks within reach"],
    slow: ["slower than usual", "quicker than usual"],
    err: ["recent mistakes", "mostly right answers"],
  },
  frustration_level: {
    err: ["recent mistakes", "mostly right answers"],
    declared: ["hard tasks", "easy tasks"],
    negsur: ["mistakes where a right answer was expected", "no unexpected mistakes"],
    impasse: ["stuck for several tries", "not stuck"],
    help: ["asking for hints", "working without hints"],
  },
  confidence_level: {
    sur: ["doing better than expected", "doing worse than expected"],
    demand: ["tasks within reach", "tasks above present ability"],
    err: ["mostly right answers", "recent mistakes"],
    slow: ["quicker than usual", "slower than usual"],
  },
  engagement_level: {
    idle: ["no long pauses", "long pauses"],
    fast: ["taking time to think", "very quick answers"],
    help: ["working without hints", "asking for hints"],
    err: ["mostly right answers", "recent mistakes"],
    slow: ["quicker than usual", "slower than usual"],
    flow: ["difficulty about right", "difficulty too far off"],
  },
  fatigue_level: {
    load: ["the work takes effort", "the work takes little effort"],
    tank: ["long work without a break", "rested"],
    rtvar: ["uneven pace", "even pace"],
  },
  motivation_level: {
    expect: ["success is likely", "success is uncertain"],
    engage: ["engaged so far", "less engaged so far"],
    persist: ["goes on after mistakes", "rushes after mistakes"],
    presence: ["comes back regularly", "here for the first time"],
    cost: ["little strain", "strain and tiredness"],
  },
};

/** Smaller contributions are not worth a word: 1 % of the whole scale. */
const least = 0.01;

/** What moved a level, most important first: `["recent mistakes", "slower than usual"]`. */
export function driversInWords(
  level: Level,
  drivers: Assessment["drivers"],
  most = 2,
): readonly string[] {
  const row = drivers?.[level];
  if (typeof row !== "object" || row === null) return [];
  return Object.entries(row)
    .filter(
      (entry): entry is [string, number] =>
        typeof entry[1] === "number" && Math.abs(entry[1]) >= least,
    )
    .sort(([, a], [, b]) => Math.abs(b) - Math.abs(a))
    .flatMap(([name, moved]) => meanings[level][name]?.[moved > 0 ? 0 : 1] ?? [])
    .slice(0, most);
}

/** An answer in the history, as far as words need it. */
export interface Answered {
  readonly type: string;
  readonly context: { readonly correct?: unknown };
}

const numbers = [
  "no",
  "one",
  "two",
  "three",
  "four",
  "five",
  "six",
  "seven",
  "eight",
  "nine",
  "ten",
];

/** A run of equal answers at the end, from two wrong or three right: `two wrong in a row`. */
export function streakInWords(entries: readonly Answered[]): string | null {
  const marks = entries
    .map(({ context }) => context.correct)
    .filter((correct) => typeof correct === "boolean");
  const last = marks.at(-1);
  if (last === undefined) return null;
  const run = marks.length - 1 - marks.lastIndexOf(!last);
  if (run < (last ? 3 : 2)) return null;
  return `${numbers[run] ?? run} ${last ? "right" : "wrong"} in a row`;
}

/**
 * One sentence on how it goes, from the run of answers and what weighs most: `Two wrong in a row,
 * slower than usual.`
 */
export function summaryOf(
  entries: readonly Answered[],
  drivers: Assessment["drivers"],
): string | null {
  const streak = streakInWords(entries);
  const said = new Set(streak ? ["recent mistakes", "mostly right answers"] : []);
  const wanted: Level[] = ["frustration_level", "cognitive_load", "engagement_level"];
  const words: string[] = [];
  for (const phrase of wanted.flatMap((level) => driversInWords(level, drivers, 3))) {
    const opposite = [...words].some((word) => contradict(word, phrase));
    if (!said.has(phrase) && !opposite) words.push(phrase);
    said.add(phrase);
  }
  const all = [...(streak ? [streak] : []), ...words].slice(0, 3);
  if (all.length === 0) return null;
  const sentence = all.join(", ");
  return `${sentence[0]!.toUpperCase()}${sentence.slice(1)}.`;
}

/** Two levels may read the same driver in two ways; a sentence should not. */
function contradict(a: string, b: string): boolean {
  return Object.values(meanings).some((row) =>
    Object.values(row).some(
      ([raises, lowers]) => (raises === a && lowers === b) || (raises === b && lowers === a),
    ),
  );
}

const grades: Readonly<Record<string, readonly [short: string, long: string]>> = {
  human: ["checked with people", "Compared with what people said about themselves while working."],
  convergent: ["agrees with other measures", "Compared with published measures of the same thing."],
  theory: ["from theory", "Follows published theory; not yet compared with people."],
};

/** What a level's claim rests on. */
export function gradeInWords(grade: unknown): readonly [short: string, long: string] | null {
  return (typeof grade === "string" && grades[grade]) || null;
}

/** `just now`, `20 s ago`, `5 min ago`, `3 h ago`, `2 days ago`. */
export function ageInWords(ms: number): string {
  const seconds = Math.max(0, ms) / 1_000;
  if (seconds < 10) return "just now";
  if (seconds < 60) return `${Math.floor(seconds / 10) * 10} s ago`;
  if (seconds < 3_600) return `${Math.floor(seconds / 60)} min ago`;
  if (seconds < 86_400) return `${Math.floor(seconds / 3_600)} h ago`;
  const days = Math.floor(seconds / 86_400);
  return days === 1 ? "1 day ago" : `${days} days ago`;
}

/** A share as it is read in a difference: `+4`, `−3`, `±0`; in percentage points. */
export function signed(share: number): string {
  const points = Math.round(share * 100);
  return points === 0 ? "±0" : points > 0 ? `+${points}` : `−${-points}`;
}

const happened: Readonly<Record<string, string>> = {
  question_response: "Answered",
  content_view: "Read",
  hint_request: "Asked for a hint",
  assessment: "Test answer",
  practice: "Practised",
};

/** What an interaction was. */
export function interactionInWords(type: string): string {
  return happened[type] ?? "Worked";
}

/** A class's or skill's id as a name: `demo-class-5a` → `Demo class 5a`. */
export function nameOfId(id: string): string {
  const words = id.replace(/[-_.:]+/g, " ").trim();
  return words === "" ? id : words[0]!.toUpperCase() + words.slice(1);
}

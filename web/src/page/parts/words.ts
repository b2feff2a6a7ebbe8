/** Says in words what the model says in numbers. Display only; pure. */

/** An answer in the history, as far as words need it. */
export interface Answered {
  readonly type: string;
  readonly context: { readonly correct?: unknown };
}

const numbers = ["", "", "Two", "Three", "Four", "Five", "Six", "Seven", "Eight", "Nine", "Ten"];

/** A run of equal answers at the end, from two wrong or three right: `Two wrong in a row.` */
export function streakInWords(entries: readonly Answered[]): string | null {
  const marks = entries
    .map(({ context }) => context.correct)
    .filter((correct) => typeof correct === "boolean");
  const last = marks.at(-1);
  if (last === undefined) return null;
  const run = marks.length - 1 - marks.lastIndexOf(!last);
  if (run < (last ? 3 : 2)) return null;
  return `${numbers[run] ?? run} ${last ? "right" : "wrong"} in a row.`;
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

/** What went well, what has grown, and what comes next. Pure. */

import type { Assessment, RecommendedAction } from "@aivo/realtime";
import type { Given } from "./usePractice";
import { praises, skillNames, steps } from "./words";

/** Mastery per skill, in [0, 1]. */
export type Masteries = Readonly<Record<string, number>>;

/** From so much more mastery on, a skill is said to have grown. */
const grownBy = 0.02;
const most = 3;
const longStreak = 3;

/** At most three things that went well, the best first; empty before anything was tried. */
export function wentWell(
  given: readonly Pick<Given, "what" | "question">[],
  grown: readonly string[],
): readonly string[] {
  const tried = given.filter(({ what }) => what !== "hint");
  if (given.length === 0) return [];
  const right = tried.filter(({ what }) => what === "right").length;
  const streak = tried.length - 1 - tried.map(({ what }) => what).lastIndexOf("wrong");
  const said = [
    ...(streak >= longStreak ? [praises.streak(streak)] : []),
    ...(rightAfter(given, "wrong") ? [praises.came_back] : []),
    ...(rightAfter(given, "hint") ? [praises.hint_helped] : []),
    ...grown.slice(0, 1).map((skill) => praises.grown(skillNames[skill] ?? skill)),
    ...(right > 1 ? [praises.solved(right)] : right === 1 ? [praises.solved_one] : []),
  ];
  return said.length > 0 ? said.slice(0, most) : [praises.trying];
}

/** Whether a task was solved after a try or a hint on the same one. */
function rightAfter(
  given: readonly Pick<Given, "what" | "question">[],
  before: "wrong" | "hint",
): boolean {
  return given.some(
    ({ what, question }, i) =>
      what === "right" &&
      given.slice(0, i).some((one) => one.what === before && one.question === question),
  );
}

/** The skills that have grown since `before`, what grew most first. */
export function grownSkills(before: Masteries, now: Masteries): readonly string[] {
  return Object.keys(now)
    .map((skill) => ({ skill, by: now[skill]! - (before[skill] ?? now[skill]!) }))
    .filter(({ by }) => by >= grownBy)
    .sort((a, b) => b.by - a.by)
    .map(({ skill }) => skill);
}

/** One next step: the first advice of the server that is for a child. */
export function nextStep(actions: readonly RecommendedAction[] = []): string {
  for (const { code } of actions) if (code in steps) return steps[code as keyof typeof steps];
  return steps.go_on;
}

/** The probabilities alone, however much is told of each skill. */
export function masteriesOf(mastery: Assessment["mastery"]): Masteries {
  return Object.fromEntries(
    Object.entries(mastery ?? {}).map(([skill, told]) => [
      skill,
      typeof told === "number" ? told : told.probability,
    ]),
  );
}

/** What is kept on the device: mastery as it was when the day's practice began. */
export interface Morning {
  readonly day: string;
  readonly masteries: Masteries;
}

/** This day's beginning: what is kept already, and what is known first of each further skill. */
export function morningOf(kept: string | null, day: string, now: Masteries): Morning {
  let old: Partial<Morning> = {};
  try {
    old = (JSON.parse(kept ?? "{}") ?? {}) as Partial<Morning>;
  } catch {
    // Not ours, or from another version.
  }
  return { day, masteries: { ...now, ...(old.day === day ? old.masteries : {}) } };
}

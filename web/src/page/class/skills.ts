/** What a class has mastered, skill by skill, and what to teach again. Pure. */

import type { Assessment } from "@aivo/realtime";
import type { Learner } from "../frame/hooks";
import { nameOf } from "./triage";

/** A learner's mastery as the state tells it, or null where it is not known yet. */
export type Mastery = Assessment["mastery"] | null;

/** Fewer answers say too little about one learner. */
export const fewAnswers = 3;
/** Below it a skill counts as not mastered yet. */
export const masteredAt = 0.7;
/** So many learners of a class make its mean worth telling. */
const fewLearners = 3;

export interface Cell {
  readonly probability: number;
  readonly answers: number;
  /** Rests on too few answers. */
  readonly isVague: boolean;
}

export interface SkillColumn {
  readonly skill: string;
  /** Over those with enough answers; null where there are none. */
  readonly mean: number | null;
  /** With enough answers. */
  readonly learners: number;
  /** Of them, those who have not mastered it; who needs it most first. */
  readonly behind: readonly string[];
}

export interface SkillRow {
  readonly learner: Learner;
  /** In the order of the columns; null where nothing is known. */
  readonly cells: readonly (Cell | null)[];
}

export interface SkillTable {
  /** What most needs teaching again first. */
  readonly columns: readonly SkillColumn[];
  readonly rows: readonly SkillRow[];
}

/** The class as a table, by the learners' names. */
export function skillTable(
  learners: readonly Learner[],
  masteries: ReadonlyMap<string, Mastery>,
): SkillTable {
  const cells = new Map(
    learners.map((learner) => [learner.learner_id, cellsOf(masteries.get(learner.learner_id))]),
  );
  const skills = new Set([...cells.values()].flatMap((row) => [...row.keys()]));
  const columns = [...skills]
    .map((skill) => columnOf(skill, learners, cells))
    .sort((a, b) => (a.mean ?? 2) - (b.mean ?? 2) || a.skill.localeCompare(b.skill));
  const rows = [...learners]
    .sort((a, b) => nameOf(a).localeCompare(nameOf(b), undefined, { numeric: true }))
    .map((learner) => ({
      learner,
      cells: columns.map(({ skill }) => cells.get(learner.learner_id)!.get(skill) ?? null),
    }));
  return { columns, rows };
}

function cellsOf(mastery: Mastery | undefined): ReadonlyMap<string, Cell> {
  return new Map(
    Object.entries(mastery ?? {}).flatMap(([skill, told]) =>
      typeof told === "number"
        ? []
        : [
            [
              skill,
              {
                probability: told.probability,
                answers: told.answers,
                isVague: told.answers < fewAnswers,
              },
            ] as const,
          ],
    ),
  );
}

function columnOf(
  skill: string,
  learners: readonly Learner[],
  cells: ReadonlyMap<string, ReadonlyMap<string, Cell>>,
): SkillColumn {
  const sure = learners.flatMap((learner) => {
    const cell = cells.get(learner.learner_id)!.get(skill);
    return cell && !cell.isVague ? [{ name: nameOf(learner), p: cell.probability }] : [];
  });
  const behind = sure.filter(({ p }) => p < masteredAt).sort((a, b) => a.p - b.p);
  return {
    skill,
    mean: sure.length === 0 ? null : sure.reduce((sum, { p }) => sum + p, 0) / sure.length,
    learners: sure.length,
    behind: behind.map(({ name }) => name),
  };
}

/** The skills to teach again, most needed first: where a third of at least three are behind. */
export function teachAgain({ columns }: SkillTable, most = 3): readonly SkillColumn[] {
  return columns
    .filter(({ learners, behind }) => learners >= fewLearners && behind.length * 3 >= learners)
    .sort((a, b) => b.behind.length / b.learners - a.behind.length / a.learners)
    .slice(0, most);
}

/** In which of five steps a mastery is coloured, 0 the lowest; from 3 on it counts as mastered. */
export function stepOf(probability: number): number {
  return Math.min(4, Math.max(0, 3 + Math.floor((probability - masteredAt) / 0.15 + 1e-9)));
}

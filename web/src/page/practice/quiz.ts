/**
 * Small sums to practise with: five skills at five difficulties, and how hard the next one should
 * be. Pure.
 */

import type { RecommendedAction } from "@aivo/realtime";

export const skills = [
  "addition",
  "multiplication",
  "fractions",
  "percentages",
  "equations",
] as const;
export type Skill = (typeof skills)[number];

/** One task. */
export interface Task {
  /** The same for the same task, whoever gets it: the model learns how hard it is. */
  readonly itemId: string;
  readonly skill: Skill;
  /** 1 (easy) to 5 (hard). */
  readonly difficulty: number;
  readonly question: string;
  readonly answer: number;
  /** First a nudge, then nearly the way. */
  readonly hints: readonly [string, string];
}

type Draw = (least: number, most: number) => number;
type Written = Pick<Task, "question" | "answer" | "hints"> & { readonly key: string };

/** Write a task; `random` is uniform in [0, 1). */
export function makeTask(skill: Skill, difficulty: number, random: () => number): Task {
  const draw: Draw = (least, most) => least + Math.floor(random() * (most - least + 1));
  const { key, ...task } = writers[skill](draw, difficulty);
  return { itemId: `quiz:${skill}:${key}`, skill, difficulty, ...task };
}

const pick = <T>(from: readonly T[], draw: Draw): T => from[draw(0, from.length - 1)]!;
const byLevel = <T>(values: readonly [T, T, T, T, T], difficulty: number): T =>
  values[difficulty - 1]!;

const writers: Readonly<Record<Skill, (draw: Draw, difficulty: number) => Written>> = {
  addition(draw, difficulty) {
    const most = byLevel([9, 30, 90, 400, 2_000], difficulty);
    const [a, b] = [draw(Math.ceil(most / 3), most), draw(Math.ceil(most / 3), most)];
    const tens = b - (b % 10);
    return {
      key: `${a}+${b}`,
      question: `${a} + ${b} = ?`,
      answer: a + b,
      hints: [
        "Add the tens first, then the ones.",
        tens > 0
          ? `${a} + ${tens} = ${a + tens}. Now add ${b % 10}.`
          : `Start at ${Math.max(a, b)} and count on.`,
      ],
    };
  },
  multiplication(draw, difficulty) {
    const a = draw(2, byLevel([5, 9, 12, 15, 25], difficulty));
    const b = draw(2, byLevel([5, 9, 12, 25, 40], difficulty));
    const part = Math.floor(b / 2);
    return {
      key: `${a}*${b}`,
      question: `${a} × ${b} = ?`,
      answer: a * b,
      hints: [
        `Split ${b} into two smaller numbers.`,
        `${a} × ${part} = ${a * part}. Add ${a} × ${b - part}.`,
      ],
    };
  },
  fractions(draw, difficulty) {
    const below = pick(byLevel([[2], [2, 4], [3, 4, 5], [5, 6, 8], [7, 9, 12]], difficulty), draw);
    const above = difficulty === 1 ? 1 : draw(1, below - 1);
    const whole = below * draw(2, 4 * difficulty);
    return {
      key: `${above}/${below}*${whole}`,
      question: `What is ${above}/${below} of ${whole}?`,
      answer: (whole / below) * above,
      hints: [
        `First find 1/${below} of ${whole}.`,
        `1/${below} of ${whole} is ${whole / below}. Take it ${above === 1 ? "once" : `${above} times`}.`,
      ],
    };
  },
  percentages(draw, difficulty) {
    const share = pick(
      byLevel(
        [
          [50, 100],
          [10, 50],
          [20, 25],
          [15, 30, 75],
          [12, 35, 85],
        ],
        difficulty,
      ),
      draw,
    );
    const whole = 100 * draw(1, 2 + difficulty);
    return {
      key: `${share}%${whole}`,
      question: `What is ${share} % of ${whole}?`,
      answer: (whole / 100) * share,
      hints: [
        "Per cent means: of a hundred.",
        `1 % of ${whole} is ${whole / 100}. Take it ${share} times.`,
      ],
    };
  },
  equations(draw, difficulty) {
    const x = draw(1, 4 * difficulty);
    const factor = difficulty < 3 ? 1 : draw(2, 2 * difficulty);
    const added = draw(1, 5 * difficulty);
    const left = `${factor === 1 ? "" : factor}x`;
    const right = factor * x + added;
    return {
      key: `${factor}x+${added}=${right}`,
      question: `${left} + ${added} = ${right}.  x = ?`,
      answer: x,
      hints: [
        `Take ${added} away on both sides.`,
        factor === 1
          ? `x is ${right} − ${added}.`
          : `${left} = ${right - added}. Divide by ${factor}.`,
      ],
    };
  },
};

/** What a learner typed as a number; null when it is none. */
export function readAnswer(text: string): number | null {
  const plain = text.trim().replace(",", ".");
  return /^[-+]?\d+(\.\d+)?$/.test(plain) ? Number(plain) : null;
}

const steps: Readonly<Record<string, number>> = { harder: 1, scaffold: -1, worked_example: -1 };

/** How hard the next task should be: as the model advises, else a little easier after a mistake. */
export function nextDifficulty(
  difficulty: number,
  wasRight: boolean,
  actions: readonly RecommendedAction[] = [],
): number {
  const advised = actions.map(({ code }) => steps[code]).find((step) => step !== undefined);
  const step = advised ?? (wasRight ? (difficulty < 3 ? 1 : 0) : -1);
  return Math.min(5, Math.max(1, difficulty + step));
}

/** How well each skill is mastered, how it grew, and on how much evidence that rests. */

import type { Assessment } from "@aivo/realtime";
import { percent } from "@aivo/realtime/react";
import { LevelBar } from "../parts/LevelBar";
import { Sparkline } from "../parts/Sparkline";
import { nameOfId } from "../parts/words";

interface Skill {
  readonly name: string;
  readonly probability: number;
  readonly answers: number | null;
  readonly error: number | undefined;
}

/** The server tells more about each skill when asked for the state than after an answer. */
function skillOf([name, told]: [string, unknown]): Skill | null {
  if (typeof told === "number") return { name, probability: told, answers: null, error: undefined };
  const { probability, answers, standard_error } = (told ?? {}) as Record<string, unknown>;
  if (typeof probability !== "number") return null;
  return {
    name,
    probability,
    answers: typeof answers === "number" ? answers : null,
    error: typeof standard_error === "number" ? standard_error : undefined,
  };
}

interface Props {
  readonly mastery: Assessment["mastery"];
  /** Whether the numbers are shown as well. */
  readonly numbers: boolean;
  /** A skill's mastery in the course of its answers. */
  readonly course: (skill: string) => readonly number[];
  /** Show the answers behind a skill. */
  readonly ask: (skill: string) => void;
}

/** Skills by name, the order of which does not change while one reads. */
export function Mastery({ mastery, numbers, course, ask }: Props) {
  const skills = Object.entries(mastery ?? {})
    .map(skillOf)
    .filter((skill) => skill !== null);
  if (skills.length === 0) return null;
  skills.sort((a, b) => a.name.localeCompare(b.name));
  return (
    <section className="card" aria-labelledby="mastery">
      <h2 id="mastery">Mastery</h2>
      <ul className="mastery">
        {skills.map(({ name, probability, answers, error }) => {
          const label = name === "" ? "All tasks" : nameOfId(name);
          return (
            <li key={name}>
              <button className="level__label" type="button" onClick={() => ask(name)}>
                {label}
                <span className="hidden">: show the answers behind it</span>
              </button>
              <Growth values={course(name)} />
              {numbers && <span className="mastery__value">{percent(probability)}</span>}
              <LevelBar value={probability} spread={numbers ? error : undefined} />
              {answers !== null && (
                <span className="mastery__basis">
                  {answers === 1 ? "1 answer" : `${answers} answers`}
                </span>
              )}
            </li>
          );
        })}
      </ul>
    </section>
  );
}

function Growth({ values }: { values: readonly number[] }) {
  if (values.length < 2) return <span />;
  const points = values.map(
    (value, i) => [(i / (values.length - 1)) * 100, 20 - value * 20] as const,
  );
  const label = `From ${percent(values[0]!)} to ${percent(values.at(-1)!)}`;
  return <Sparkline points={points} label={label} />;
}

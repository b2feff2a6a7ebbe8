/** How well each skill is mastered, and on how much evidence that rests. */

import type { Assessment } from "@aivo/realtime";
import { percent } from "@aivo/realtime/react";
import { LevelBar } from "./LevelBar";
import { nameOfId } from "./words";

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

/** Skills by name, the order of which does not change while one reads. */
export function Mastery({ mastery }: { mastery: Assessment["mastery"] }) {
  const skills = Object.entries(mastery ?? {})
    .map(skillOf)
    .filter((skill) => skill !== null);
  if (skills.length === 0) return null;
  skills.sort((a, b) => a.name.localeCompare(b.name));
  return (
    <section className="card" aria-labelledby="mastery">
      <h2 id="mastery">Mastery</h2>
      <ul className="mastery">
        {skills.map(({ name, probability, answers, error }) => (
          <li key={name}>
            <span>{name === "" ? "All tasks" : nameOfId(name)}</span>
            <span className="mastery__value">{percent(probability)}</span>
            <LevelBar value={probability} spread={error} />
            {answers !== null && (
              <span className="mastery__basis">
                {answers === 1 ? "1 answer" : `${answers} answers`}
              </span>
            )}
          </li>
        ))}
      </ul>
    </section>
  );
}

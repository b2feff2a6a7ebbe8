/** Which class is shown. */

import type { classesOf } from "./triage";

/** More of them are chosen from a list. */
const mostButtons = 4;

interface Props {
  readonly classes: ReturnType<typeof classesOf>;
  readonly chosen: string | null;
  choose(id: string | null): void;
  /** How many learners there are in all. */
  readonly learners: number;
}

/** Buttons for a few classes, a list for many, and nothing to choose for one. */
export function ClassChoice({ classes, chosen, choose, learners }: Props) {
  const [only] = classes;
  if (!only) return null;
  if (classes.length === 1)
    return (
      <p className="heading__more">
        {only.name}, {learners === 1 ? "1 learner" : `${learners} learners`}
      </p>
    );
  const all = [{ id: null, name: "All" }, ...classes];
  if (classes.length > mostButtons)
    return (
      <select
        className="heading__choice"
        aria-label="Class"
        value={chosen ?? ""}
        onChange={(event) => choose(event.target.value || null)}
      >
        {all.map(({ id, name }) => (
          <option key={id ?? ""} value={id ?? ""}>
            {id === null ? `All ${classes.length} classes` : name}
          </option>
        ))}
      </select>
    );
  return (
    <div className="choice" role="group" aria-label="Class">
      {all.map(({ id, name }) => (
        <button
          key={id ?? ""}
          type="button"
          aria-pressed={chosen === id}
          onClick={() => choose(id)}
        >
          {name}
        </button>
      ))}
    </div>
  );
}

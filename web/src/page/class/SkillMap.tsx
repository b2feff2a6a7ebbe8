/** Skills and learners as a map: what should be taught again? */

import type { LearnerView } from "@aivo/realtime";
import { percent } from "@aivo/realtime/react";
import { useMemo } from "react";
import type { Learner } from "../frame/hooks";
import { href } from "../frame/routes";
import { nameOfId } from "../parts/words";
import { skillTable, stepOf, teachAgain, type Cell, type SkillColumn } from "./skills";
import { nameOf } from "./triage";
import { useMasteries } from "./useMasteries";

interface Props {
  /** Those to show. */
  readonly learners: readonly Learner[];
  readonly watched: readonly Learner[];
  readonly views: readonly (LearnerView | undefined)[];
}

/** What to teach again, and who has mastered what. */
export function SkillMap({ learners, watched, views }: Props) {
  const { masteries, isWhole } = useMasteries(watched, views);
  const whole = useMemo(() => skillTable(watched, masteries), [watched, masteries]);
  const shown = new Set(learners);
  const rows = whole.rows.filter(({ learner }) => shown.has(learner));
  if (whole.columns.length === 0)
    return (
      <p className="note" role="status">
        {isWhole ? "No skill has been practised yet." : "Loading"}
      </p>
    );
  return (
    <div className="skills" data-whole={isWhole}>
      <Again columns={teachAgain(whole)} />
      <div
        className="skills__scroll"
        role="region"
        aria-label="Mastery by learner and skill"
        tabIndex={0}
      >
        <table className="skills__map">
          <thead>
            <tr>
              <th scope="col">Learner</th>
              {whole.columns.map(({ skill }) => (
                <th key={skill} scope="col">
                  {labelOf(skill)}
                </th>
              ))}
            </tr>
          </thead>
          <tbody>
            <tr className="skills__mean">
              <th scope="row">All together</th>
              {whole.columns.map(({ skill, mean }) => (
                <Value
                  key={skill}
                  cell={mean === null ? null : { probability: mean, answers: 0, isVague: false }}
                />
              ))}
            </tr>
            {rows.map(({ learner, cells }) => (
              <tr key={learner.learner_id}>
                <th scope="row">
                  <a href={href({ name: "learner", id: learner.learner_id })}>{nameOf(learner)}</a>
                </th>
                {whole.columns.map(({ skill }, i) => (
                  <Value key={skill} cell={cells[i]!} />
                ))}
              </tr>
            ))}
          </tbody>
        </table>
      </div>
      <p className="soft">
        How likely a task of middling difficulty would be solved now, in per cent. Small print:
        fewer than three answers, which says little. The skill that most needs teaching again comes
        first.
      </p>
    </div>
  );
}

function Value({ cell }: { cell: Cell | null }) {
  if (cell === null) return <td className="skills__none">–</td>;
  return (
    <td data-step={cell.isVague ? undefined : stepOf(cell.probability)} data-vague={cell.isVague}>
      {Math.round(cell.probability * 100)}
    </td>
  );
}

const namesShown = 5;

function Again({ columns }: { columns: readonly SkillColumn[] }) {
  return (
    <section className="again" aria-labelledby="again">
      <h2 id="again">To teach again</h2>
      {columns.length === 0 ? (
        <p className="soft">Nothing stands out: most have mastered what they practised.</p>
      ) : (
        <ul>
          {columns.map(({ skill, behind, learners, mean }) => (
            <li key={skill}>
              <strong>{labelOf(skill)}</strong>
              <span>
                {behind.length} of {learners} have not mastered it yet
                {mean !== null && `, ${percent(mean)} on average`}
              </span>
              <span className="soft">
                {behind.slice(0, namesShown).join(", ")}
                {behind.length > namesShown && ` and ${behind.length - namesShown} more`}
              </span>
            </li>
          ))}
        </ul>
      )}
    </section>
  );
}

const labelOf = (skill: string) => (skill === "" ? "All tasks" : nameOfId(skill));

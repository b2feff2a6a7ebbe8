/** What a learner sees of themselves: what went well, one next step, and what they can do. */

import type { LearnerState } from "@aivo/realtime/react";
import { bandInWords, levels, percent, wordOf } from "@aivo/realtime/react";
import { useEffect, useMemo } from "react";
import { keepText, keptText, useKeptSwitch } from "../frame/kept";
import { LevelBar } from "../parts/LevelBar";
import { nameOfId } from "../parts/words";
import { grownSkills, masteriesOf, morningOf, nextStep, wentWell } from "./encourage";
import type { Practice } from "./usePractice";
import { texts } from "./words";

/** Off for children: levels and percentages on a learner's own page. */
export const levelsSwitch = "own-levels";

/** The cards beside the task. */
export function Mine({ live, practice }: { live: LearnerState; practice: Practice }) {
  const masteries = useMemo(() => masteriesOf(live.details.mastery), [live.details.mastery]);
  const grown = useGrown(live.learnerId, masteries);
  const well = wentWell(practice.given, grown);
  const [shows, setShows] = useKeptSwitch(levelsSwitch);
  return (
    <>
      <section className="card well" aria-labelledby="well">
        <h2 id="well">{texts.wentWell}</h2>
        {well.length === 0 ? (
          <p className="soft">{texts.start}</p>
        ) : (
          <ul aria-live="polite">
            {well.map((sentence) => (
              <li key={sentence}>
                <span aria-hidden="true">★</span> {sentence}
              </li>
            ))}
          </ul>
        )}
      </section>
      <section className="card" aria-labelledby="step">
        <h2 id="step">{texts.nextStep}</h2>
        <p className="tip">{nextStep(live.details.actions)}</p>
      </section>
      <Growing masteries={masteries} grown={grown} />
      {shows && live.state && <Levels live={live} state={live.state} />}
      <details className="soft adults">
        <summary>For adults</summary>
        <label>
          <input
            type="checkbox"
            checked={shows}
            onChange={(event) => setShows(event.target.checked)}
          />{" "}
          Show levels and percentages on this device
        </label>
      </details>
    </>
  );
}

function Growing({
  masteries,
  grown,
}: {
  masteries: Readonly<Record<string, number>>;
  grown: readonly string[];
}) {
  const skills = Object.keys(masteries).sort((a, b) => a.localeCompare(b));
  if (skills.length === 0) return null;
  return (
    <section className="card" aria-labelledby="growing">
      <h2 id="growing">{texts.growing}</h2>
      <ul className="growing">
        {skills.map((skill) => (
          <li key={skill}>
            <span>{skill === "" ? "Tasks" : nameOfId(skill)}</span>
            {grown.includes(skill) && (
              <span className="growing__word">
                <span aria-hidden="true">↑</span> {texts.grown}
              </span>
            )}
            <LevelBar value={masteries[skill]!} />
          </li>
        ))}
      </ul>
    </section>
  );
}

/** The skills that have grown today, by what this device has seen. */
function useGrown(learnerId: string, masteries: Readonly<Record<string, number>>) {
  const name = `morning/${learnerId}`;
  const morning = useMemo(
    () => morningOf(keptText(name), new Date().toDateString(), masteries),
    [name, masteries],
  );
  useEffect(() => {
    const text = JSON.stringify(morning);
    if (Object.keys(morning.masteries).length > 0 && keptText(name) !== text) keepText(name, text);
  }, [name, morning]);
  return useMemo(() => grownSkills(morning.masteries, masteries), [morning, masteries]);
}

function Levels({
  live: { details, status },
  state,
}: {
  live: LearnerState;
  state: NonNullable<LearnerState["state"]>;
}) {
  const bands = details.meaning?.bands;
  return (
    <section className="card" aria-labelledby="me">
      <h2 id="me">Levels</h2>
      <ul className="own-levels" data-stale={status === "stale"}>
        {levels.map((level) => (
          <li key={level.key} data-level={level.key}>
            <span>{level.label}</span>
            <span className="own-levels__word">
              {bands ? bandInWords(bands[level.key]) : wordOf(state[level.key])}
            </span>
            <span className="own-levels__value">{percent(state[level.key])}</span>
            <LevelBar value={state[level.key]} />
          </li>
        ))}
      </ul>
      <p className="soft legend">
        A guess from how you work. It helps to choose tasks that fit you.
      </p>
    </section>
  );
}

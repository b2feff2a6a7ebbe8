/**
 * One learner: the six levels live with what stands behind them, how it went, and what could be
 * done.
 */

import type { Assessment, PerformanceMetrics } from "@aivo/realtime";
import {
  levels,
  percent,
  toneOf,
  useLearnerState,
  wordOf,
  type LearnerState,
  type LevelDescription,
} from "@aivo/realtime/react";
import { useId, useMemo, useState } from "react";
import { useNow, usePage, useTitle } from "../frame/hooks";
import { LevelBar } from "../parts/LevelBar";
import { Mastery } from "../parts/Mastery";
import { StateChart } from "./StateChart";
import { href } from "../frame/routes";
import { classesOf, nameOf } from "../class/triage";
import { useHistory, type Entry } from "./useHistory";
import {
  ageInWords,
  driversInWords,
  gradeInWords,
  interactionInWords,
  nameOfId,
  summaryOf,
} from "../parts/words";
import "./learner.css";

/** Everything about a learner that the model tells. */
export function LearnerPage({ learnerId }: { learnerId: string }) {
  const { learners, user } = usePage();
  const learner = learners?.find(({ learner_id }) => learner_id === learnerId);
  const live = useExplained(useLearnerState(learnerId, { details: true }));
  const entries = useHistory(learnerId, live.view);
  const name = learner ? nameOf(learner) : learnerId;
  const classes = classesOf(learner ? [learner] : [])
    .map((one) => one.name)
    .join(", ");
  useTitle(name);
  if (live.status === "refused")
    return (
      <p className="note" role="alert">
        You do not have access to this learner.
      </p>
    );
  return (
    <article
      className="learner"
      data-status={live.status}
      data-revision={live.revision ?? undefined}
    >
      {user.role !== "learner" && (
        <p className="back">
          <a href="#/">← {user.role === "guardian" ? "Your children" : "All learners"}</a>
        </p>
      )}
      <div className="heading">
        <h1>{name}</h1>
        {classes && <p className="heading__more">{classes}</p>}
        <Status live={live} entries={entries} />
      </div>
      <p className="summary">
        {live.state ? summaryOf(entries ?? [], live.details.drivers) : null}
      </p>
      {live.state ? (
        <Content live={live} entries={entries} learnerId={learnerId} />
      ) : (
        <Empty status={live.status} />
      )}
    </article>
  );
}

/**
 * The state with its newest explanation, which arrives a moment after it: better a moment old than
 * blank in between.
 */
function useExplained(live: LearnerState): LearnerState {
  const [held, setHeld] = useState(live.details.drivers);
  const { drivers } = live.details;
  if (drivers !== undefined && drivers !== held) setHeld(drivers);
  return useMemo(
    () => ({ ...live, details: { ...live.details, ...(held ? { drivers: held } : {}) } }),
    [live, held],
  );
}

function Empty({ status }: { status: LearnerState["status"] }) {
  return (
    <p className="note" role="status">
      {status === "empty"
        ? "Nothing has been recorded yet. The first answer will show here by itself."
        : "Loading"}
    </p>
  );
}

function Status({
  live: { status, view },
  entries,
}: {
  live: LearnerState;
  entries: readonly Entry[] | null;
}) {
  const now = useNow(5_000);
  const told = view?.update?.occurred_at ?? entries?.at(-1)?.occurred_at;
  const age = told ? `, last activity ${ageInWords(now - Date.parse(told))}` : "";
  const words = {
    live: "Live",
    stale: "Not connected: last known state",
    empty: "Connected",
    refused: "No access",
    loading: "Loading",
  }[status];
  return (
    <p className="status" data-status={status}>
      {words}
      {age}
    </p>
  );
}

function Content({
  live,
  entries,
  learnerId,
}: {
  live: LearnerState;
  entries: readonly Entry[] | null;
  learnerId: string;
}) {
  const { details } = live;
  return (
    <div className="learner__grid">
      <div className="learner__wide">
        <Levels live={live} />
        <section className="card" aria-labelledby="course">
          <h2 id="course">Over time</h2>
          <StateChart entries={entries} />
        </section>
        <Recent entries={entries} />
      </div>
      <div className="learner__side">
        <Recommendations details={details} />
        {details.performance && <Performance performance={details.performance} />}
        <Mastery mastery={details.mastery} />
        <p className="soft">
          <a href={href({ name: "rooms", id: `learner:${learnerId}` })}>
            Talk about it in the learner's room
          </a>
        </p>
      </div>
    </div>
  );
}

function Levels({ live }: { live: LearnerState }) {
  return (
    <section className="card" aria-labelledby="levels">
      <h2 id="levels">Now</h2>
      <ul className="levels">
        {levels.map((level) => (
          <Level key={level.key} level={level} live={live} />
        ))}
      </ul>
      <p className="soft legend">
        The fine stroke in each bar is the range in which the true value probably lies. Small print
        says what was checked with people and what was not.
      </p>
    </section>
  );
}

function Level({
  level,
  live: { state, details },
}: {
  level: LevelDescription;
  live: LearnerState;
}) {
  const label = useId();
  if (!state) return null;
  const value = state[level.key];
  const uncertainty = details.uncertainty?.[level.key];
  const spread = typeof uncertainty === "number" ? uncertainty : undefined;
  const grade = gradeInWords(details.grades?.[level.key]);
  const drivers = driversInWords(level.key, details.drivers);
  const give = spread === undefined ? "" : `, give or take ${percent(spread)}`;
  return (
    <li className="level" data-level={level.key} data-tone={toneOf(level, value)}>
      <div className="level__head">
        <span className="level__label" id={label}>
          {level.label}
        </span>
        <span className="level__word">{wordOf(value)}</span>
        <span className="level__value">{percent(value)}</span>
      </div>
      <div
        className="level__meter"
        role="meter"
        aria-labelledby={label}
        aria-valuemin={0}
        aria-valuemax={100}
        aria-valuenow={Math.round(value * 100)}
        aria-valuetext={`${percent(value)}, ${wordOf(value)}${give}`}
      >
        <LevelBar value={value} spread={spread} />
      </div>
      <p className="level__drivers">
        {details.drivers === undefined ? "" : drivers.join(", ") || "as usual"}
      </p>
      <p className="level__print">
        {spread !== undefined && <span>± {percent(spread)}</span>}
        {grade && <span title={grade[1]}>{grade[0]}</span>}
      </p>
    </li>
  );
}

const urgencies: Readonly<Record<string, string>> = {
  high: "now",
  medium: "soon",
  low: "when it fits",
};

function Recommendations({ details: { recommendations, actions } }: { details: Assessment }) {
  return (
    <section className="card card--advice" aria-labelledby="advice">
      <h2 id="advice">What could help</h2>
      {recommendations?.length ? (
        <ul className="advice" aria-live="polite">
          {recommendations.map((sentence, i) => {
            const urgency = String(actions?.[i]?.urgency ?? "none");
            return (
              <li key={sentence} data-urgency={urgency}>
                {sentence}
                {urgencies[urgency] && <span className="advice__when">{urgencies[urgency]}</span>}
              </li>
            );
          })}
        </ul>
      ) : (
        <p className="soft">Nothing at the moment.</p>
      )}
    </section>
  );
}

function Performance({ performance }: { performance: PerformanceMetrics }) {
  const { accuracy, response_time, consistency, improvement_rate } = performance;
  const trend =
    improvement_rate > 0.02 ? "improving" : improvement_rate < -0.02 ? "declining" : "steady";
  const facts = [
    ["Right answers", percent(accuracy)],
    ["Time per answer", `${response_time.toFixed(1)} s`],
    ["Consistency", percent(consistency)],
    ["Trend", trend],
  ] as const;
  return (
    <section className="card" aria-labelledby="performance">
      <h2 id="performance">Performance</h2>
      <dl className="facts">
        {facts.map(([name, value]) => (
          <div key={name}>
            <dt>{name}</dt>
            <dd>{value}</dd>
          </div>
        ))}
      </dl>
    </section>
  );
}

const recentShown = 8;

function Recent({ entries }: { entries: readonly Entry[] | null }) {
  const now = useNow(10_000);
  if (!entries?.length) return null;
  return (
    <section className="card" aria-labelledby="recent">
      <h2 id="recent">Latest activity</h2>
      <ol className="recent" reversed>
        {entries
          .slice(-recentShown)
          .reverse()
          .map((entry) => (
            <li key={entry.revision} data-correct={String(entry.context.correct ?? "")}>
              <span className="recent__what">
                {verdict(entry)}
                {typeof entry.context.skill === "string" && (
                  <span className="soft"> · {nameOfId(entry.context.skill)}</span>
                )}
              </span>
              <span className="recent__content">
                {entry.content}
                {entry.response && <span className="soft"> → {entry.response}</span>}
              </span>
              <span className="recent__age">{ageInWords(now - Date.parse(entry.occurred_at))}</span>
            </li>
          ))}
      </ol>
    </section>
  );
}

function verdict({ type, context }: Entry): string {
  if (context.correct === true) return "Right";
  return context.correct === false ? "Wrong" : interactionInWords(type);
}

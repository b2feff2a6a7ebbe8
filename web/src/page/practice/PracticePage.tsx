/** A learner's own page: tasks to answer, hints to ask for, and what each answer did. */

import type { CognitiveState } from "@aivo/realtime";
import {
  levels,
  percent,
  useLearnerState,
  useWebSocketContext,
  wordOf,
  type LearnerState,
} from "@aivo/realtime/react";
import { usePage, useTitle } from "../frame/hooks";
import { LevelBar } from "../parts/LevelBar";
import { Mastery } from "../parts/Mastery";
import { nameOf } from "../class/triage";
import { usePractice, type Given, type Practice } from "./usePractice";
import { QuestionCard } from "./QuestionCard";
import { nameOfId, signed } from "../parts/words";
import "./practice.css";

/** Practice for whoever is logged in as a learner. */
export function PracticePage() {
  const { learners, user } = usePage();
  const self = learners?.[0];
  if (learners === null)
    return (
      <p className="note" role="status">
        Loading
      </p>
    );
  if (user.role !== "learner" || self === undefined)
    return <p className="note">Practising is for learners.</p>;
  return <PracticeOf learnerId={self.learner_id} name={nameOf(self)} />;
}

function PracticeOf({ learnerId, name }: { learnerId: string; name: string }) {
  const live = useLearnerState(learnerId, { details: true });
  const practice = usePractice(learnerId, live);
  useTitle("Practice");
  return (
    <article
      className="practice"
      data-revision={live.revision ?? undefined}
      data-status={live.status}
    >
      <h1>Hello, {name}</h1>
      <div className="practice__grid">
        <div className="practice__main">
          <QuestionCard practice={practice} />
          <Answers practice={practice} />
        </div>
        <div className="practice__side">
          <Me live={live} />
          <Mastery mastery={live.details.mastery} />
        </div>
      </div>
    </article>
  );
}

/** What was given, newest first, each with what became of it. */
function Answers({ practice: { given } }: { practice: Practice }) {
  const { queueSize } = useWebSocketContext();
  const here = given.filter(({ state }) => state.kind === "waiting").length;
  const earlier = queueSize - here;
  if (given.length === 0 && earlier <= 0) return null;
  return (
    <section className="card" aria-labelledby="answers">
      <h2 id="answers">Your answers</h2>
      {earlier > 0 && (
        <p className="soft" role="status">
          {earlier === 1 ? "One earlier answer is" : `${earlier} earlier answers are`} waiting to be
          sent.
        </p>
      )}
      <ol className="answers" reversed>
        {given
          .slice(-6)
          .reverse()
          .map((one) => (
            <Answer key={one.interactionId} given={one} />
          ))}
      </ol>
    </section>
  );
}

function Answer({ given: { what, question, skill, state } }: { given: Given }) {
  return (
    <li data-state={state.kind} data-what={what}>
      <span className="answers__mark" aria-hidden="true">
        {what === "right" ? "✓" : what === "wrong" ? "✕" : "?"}
      </span>
      <span className="answers__what">
        {what === "hint" ? "Hint" : what === "right" ? "Right" : "Not yet"}: {question}{" "}
        <span className="soft">· {nameOfId(skill)}</span>
      </span>
      <span className="answers__state">
        {state.kind === "waiting" && "Kept on this device, will be sent"}
        {state.kind === "failed" && "Could not be recorded"}
        {state.kind === "recorded" && (
          <Effect before={state.before} after={state.after} expected={state.expected} />
        )}
      </span>
    </li>
  );
}

/** The levels that an answer moved most. */
function Effect({
  before,
  after,
  expected,
}: {
  before: CognitiveState | null;
  after: CognitiveState;
  expected: number | null;
}) {
  const moved =
    before === null
      ? []
      : levels
          .map(({ key, label }) => ({ label, by: after[key] - before[key] }))
          .filter(({ by }) => Math.abs(by) >= 0.01)
          .sort((a, b) => Math.abs(b.by) - Math.abs(a.by))
          .slice(0, 3);
  return (
    <>
      <span>Recorded{expected !== null && `; a right answer was ${percent(expected)} likely`}</span>
      {moved.map(({ label, by }) => (
        <span className="answers__moved" key={label}>
          {label} {signed(by)}
        </span>
      ))}
    </>
  );
}

function Me({ live }: { live: LearnerState }) {
  return (
    <section className="card" aria-labelledby="me">
      <h2 id="me">How you are doing</h2>
      {live.state === null ? (
        <p className="soft">
          {live.status === "loading" ? "Loading" : "Answer a question to begin."}
        </p>
      ) : (
        <Levels state={live.state} stale={live.status === "stale"} />
      )}
      {live.details.recommendations?.[0] && live.details.actions?.[0]?.code === "take_break" && (
        <p className="tip">{live.details.recommendations[0]}</p>
      )}
    </section>
  );
}

function Levels({ state, stale }: { state: CognitiveState; stale: boolean }) {
  return (
    <>
      <ul className="own-levels" data-stale={stale}>
        {levels.map((level) => (
          <li key={level.key} data-level={level.key}>
            <span>{level.label}</span>
            <span className="own-levels__word">{wordOf(state[level.key])}</span>
            <span className="own-levels__value">{percent(state[level.key])}</span>
            <LevelBar value={state[level.key]} />
          </li>
        ))}
      </ul>
      <p className="soft legend">
        A guess from how you work. It helps to choose tasks that fit you.
      </p>
    </>
  );
}

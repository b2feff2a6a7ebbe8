/** A learner's own page: tasks to answer, hints to ask for, and what went well. */

import type { CognitiveState } from "@aivo/realtime";
import { levels, percent, useLearnerState, useWebSocketContext } from "@aivo/realtime/react";
import { nameOf } from "../class/triage";
import { usePage, useTitle } from "../frame/hooks";
import { useKeptSwitch } from "../frame/kept";
import { nameOfId, signed } from "../parts/words";
import { levelsSwitch, Mine } from "./Mine";
import { QuestionCard } from "./QuestionCard";
import { usePractice, type Given, type Practice } from "./usePractice";
import { texts } from "./words";
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
      <h1>{texts.hello(name)}</h1>
      <div className="practice__grid">
        <div className="practice__main">
          <QuestionCard practice={practice} />
          <Answers practice={practice} />
        </div>
        <div className="practice__side">
          <Mine live={live} practice={practice} />
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
      <h2 id="answers">{texts.answers}</h2>
      {earlier > 0 && (
        <p className="soft" role="status">
          {texts.earlier(earlier)}
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
  const [shows] = useKeptSwitch(levelsSwitch);
  return (
    <li data-state={state.kind} data-what={what}>
      <span className="answers__mark" aria-hidden="true">
        {what === "right" ? "✓" : what === "wrong" ? "○" : "?"}
      </span>
      <span className="answers__what">
        {what === "hint" ? texts.gotHint : what === "right" ? texts.gotRight : texts.gotNotYet}:{" "}
        {question} <span className="soft">· {nameOfId(skill)}</span>
      </span>
      <span className="answers__state">
        {state.kind === "waiting" && texts.waiting}
        {state.kind === "failed" && texts.notSaved}
        {state.kind === "recorded" && !shows && texts.saved}
        {state.kind === "recorded" && shows && (
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

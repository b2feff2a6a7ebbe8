/**
 * One learner, for adults: how they stand to what is usual for them, how it went, the answers
 * behind it, and what could be done.
 */

import type { PerformanceMetrics } from "@aivo/realtime";
import { percent, useLearnerState, type LearnerState } from "@aivo/realtime/react";
import { useMemo, useState } from "react";
import { classesOf, nameOf } from "../class/triage";
import { useNow, usePage, useTitle } from "../frame/hooks";
import { useKeptSwitch } from "../frame/kept";
import { href } from "../frame/routes";
import { bandsInWords } from "../parts/bands";
import { Mastery } from "./Mastery";
import { ageInWords, streakInWords } from "../parts/words";
import { Answers } from "./Answers";
import { masteryOver, type Focus } from "./behind";
import { Course } from "./Course";
import { Levels } from "./Levels";
import { Outlook } from "./Outlook";
import type { Entry } from "./past";
import { sinceOf, within, type Span } from "./spans";
import { useHistory, type History } from "./useHistory";
import "./learner.css";

/** Everything about a learner that the model tells. */
export function LearnerPage({ learnerId }: { learnerId: string }) {
  const { learners, user } = usePage();
  const learner = learners?.find(({ learner_id }) => learner_id === learnerId);
  const live = useExplained(useLearnerState(learnerId, { details: true }));
  const now = useNow(5_000);
  const [span, setSpan] = useState<Span>("session");
  const history = useHistory(learnerId, live.view, sinceOf(span, now));
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
      <p className="back">
        <a href="#/">← {user.role === "guardian" ? "Your children" : "All learners"}</a>
      </p>
      <div className="heading">
        <h1>{name}</h1>
        {classes && <p className="heading__more">{classes}</p>}
        <Status live={live} entries={history.entries} now={now} />
      </div>
      <p className="summary">{live.state ? summaryOf(live, history.entries ?? []) : null}</p>
      {live.state ? (
        <Content
          live={live}
          history={history}
          learnerId={learnerId}
          now={now}
          span={span}
          setSpan={setSpan}
        />
      ) : (
        <p className="note" role="status">
          {live.status === "empty"
            ? "Nothing has been recorded yet. The first answer will show here by itself."
            : "Loading"}
        </p>
      )}
    </article>
  );
}

/** How it goes, in a sentence or two. */
function summaryOf({ details: { meaning } }: LearnerState, entries: readonly Entry[]): string {
  const streak = streakInWords(entries);
  const bands = meaning ? bandsInWords(meaning.bands, meaning.too_early) : "";
  return [streak, bands].filter(Boolean).join(" ");
}

/**
 * The state with its newest explanation, which arrives a moment after it: better a moment old than
 * blank in between.
 */
function useExplained(live: LearnerState): LearnerState {
  const [held, setHeld] = useState(live.details.explanations);
  const { explanations } = live.details;
  if (explanations !== undefined && explanations !== held) setHeld(explanations);
  return useMemo(
    () => ({ ...live, details: { ...live.details, ...(held ? { explanations: held } : {}) } }),
    [live, held],
  );
}

function Status({
  live: { status, view },
  entries,
  now,
}: {
  live: LearnerState;
  entries: readonly Entry[] | null;
  now: number;
}) {
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

interface ContentProps {
  readonly live: LearnerState;
  readonly history: History;
  readonly learnerId: string;
  readonly now: number;
  readonly span: Span;
  setSpan(span: Span): void;
}

function Content({ live, history, learnerId, now, span, setSpan }: ContentProps) {
  const [numbers, setNumbers] = useKeptSwitch("numbers");
  const [focus, setFocus] = useState<Focus>({ kind: "latest" });
  const { details } = live;
  const { entries } = history;
  const ask = (asked: Focus) => {
    setFocus(asked);
    // Where it can be read, and read aloud.
    document.getElementById("answers")?.focus();
  };
  const used = useMemo(() => within(span, entries ?? [], now), [span, entries, now]);
  return (
    <div className="learner__grid">
      <div className="learner__wide">
        <Levels
          live={live}
          numbers={numbers}
          setNumbers={setNumbers}
          ask={(key) => ask({ kind: "level", key })}
        />
        <Course
          history={history}
          meaning={details.meaning}
          span={span}
          now={now}
          setSpan={setSpan}
          pick={(revision) => setFocus({ kind: "moment", revision })}
        />
        <Answers entries={entries} focus={focus} reset={() => setFocus({ kind: "latest" })} />
      </div>
      <div className="learner__side">
        <Outlook details={details} numbers={numbers} now={now} />
        {details.performance && <Performance performance={details.performance} />}
        <Mastery
          mastery={details.mastery}
          numbers={numbers}
          course={(skill) => masteryOver(used, skill).map(([, value]) => value)}
          ask={(skill) => ask({ kind: "skill", skill })}
        />
        <p className="soft">
          <a href={href({ name: "rooms", id: `learner:${learnerId}` })}>
            Talk about it in the learner's room
          </a>
        </p>
      </div>
    </div>
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

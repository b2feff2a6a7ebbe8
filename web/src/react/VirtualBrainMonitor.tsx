/**
 * The guide's monitor: one learner's state, live. Brings no styles of its own but the classes of
 * `styles.css`.
 */

import { useId } from "react";
import type { CognitiveState, Assessment, Band, PerformanceMetrics } from "../core/frames";
import { bandInWords, toneOfBand } from "./bands";
import { levels, percent, toneOf, wordOf, type LevelDescription } from "./levels";
import { useLearnerState, type LearnerState } from "./useLearnerState";

/** Props of `VirtualBrainMonitor`. */
export interface VirtualBrainMonitorProps {
  learnerId: string;
  /** Default true. */
  showPerformance?: boolean | undefined;
  /** Default true. */
  showRecommendations?: boolean | undefined;
  /** Default "Learner state". */
  title?: string | undefined;
  className?: string | undefined;
}

/**
 * The six levels of a learner, with performance and recommendations; updates by itself while
 * mounted.
 */
export function VirtualBrainMonitor(props: VirtualBrainMonitorProps) {
  const {
    learnerId,
    showPerformance = true,
    showRecommendations = true,
    title = "Learner state",
    className = "",
  } = props;
  const learner = useLearnerState(learnerId, { details: showPerformance || showRecommendations });
  const heading = useId();
  return (
    <section
      className={`aivo-monitor ${className}`.trim()}
      aria-labelledby={heading}
      data-status={learner.status}
    >
      <header className="aivo-monitor__header">
        <h2 className="aivo-monitor__title" id={heading}>
          {title}
        </h2>
        <p className="aivo-monitor__status" role="status">
          {statusText(learner)}
        </p>
      </header>
      {learner.state ? (
        <LevelList state={learner.state} details={learner.details} />
      ) : (
        <p className="aivo-monitor__empty">{emptyText(learner)}</p>
      )}
      {showPerformance && learner.details.performance && (
        <Performance performance={learner.details.performance} />
      )}
      {showRecommendations && learner.state && <Recommendations details={learner.details} />}
    </section>
  );
}

function statusText({ status, updatedAt }: LearnerState): string {
  switch (status) {
    case "live":
      return "Live";
    case "stale":
      return `Not connected. Last known state${updatedAt ? ` from ${updatedAt.toLocaleTimeString()}` : ""}`;
    case "empty":
      return "Connected";
    case "refused":
      return "No access";
    case "loading":
      return "Loading";
  }
}

function emptyText({ status }: LearnerState): string {
  if (status === "refused") return "You do not have access to this learner.";
  return status === "empty"
    ? "Nothing has been recorded yet. The first answer will show here."
    : "Waiting for the current state.";
}

/** The six levels as bars; said beside what is usual for this learner, where the server says it. */
function LevelList({ state, details }: { state: CognitiveState; details: Assessment }) {
  return (
    <ul className="aivo-monitor__levels">
      {levels.map((level) => (
        <Level
          key={level.key}
          level={level}
          value={state[level.key]}
          band={details.meaning?.bands[level.key]}
          uncertainty={details.uncertainty?.[level.key]}
        />
      ))}
    </ul>
  );
}

function Level({
  level,
  value,
  band,
  uncertainty,
}: {
  level: LevelDescription;
  value: number;
  band: Band | undefined;
  uncertainty: unknown;
}) {
  const label = useId();
  const spread = typeof uncertainty === "number" ? uncertainty : null;
  const word = band ? bandInWords(band) : wordOf(value);
  const words = `${percent(value)}, ${word}${spread === null ? "" : `, give or take ${percent(spread)}`}`;
  return (
    <li className="aivo-level" data-tone={band ? toneOfBand(level, band) : toneOf(level, value)}>
      <span className="aivo-level__label" id={label}>
        {level.label}
      </span>
      <span className="aivo-level__word" aria-hidden="true">
        {word}
      </span>
      <span className="aivo-level__value" aria-hidden="true">
        {percent(value)}
      </span>
      <div
        className="aivo-level__bar"
        role="meter"
        aria-labelledby={label}
        aria-valuetext={words}
        aria-valuemin={0}
        aria-valuemax={100}
        aria-valuenow={Math.round(value * 100)}
      >
        <Bar value={value} spread={spread} />
      </div>
    </li>
  );
}

/**
 * Drawn as SVG: its width is an attribute, which a strict Content-Security-Policy allows where it
 * would block a style.
 */
function Bar({ value, spread }: { value: number; spread: number | null }) {
  const x = (share: number) => Math.max(0, Math.min(100, share * 100));
  return (
    <svg viewBox="0 0 100 8" preserveAspectRatio="none" aria-hidden="true" focusable="false">
      <rect className="aivo-level__fill" height="8" width={x(value)} />
      {spread !== null && (
        <rect
          className="aivo-level__spread"
          y="3"
          height="2"
          x={x(value - spread)}
          width={x(value + spread) - x(value - spread)}
        />
      )}
    </svg>
  );
}

function Performance({ performance }: { performance: PerformanceMetrics }) {
  const { accuracy, response_time, consistency, improvement_rate } = performance;
  const trend = `${improvement_rate > 0 ? "+" : improvement_rate < 0 ? "−" : "±"}${percent(Math.abs(improvement_rate))}`;
  const facts = [
    ["Accuracy", percent(accuracy)],
    ["Response time", `${response_time.toFixed(1)} s`],
    ["Consistency", percent(consistency)],
    ["Improvement", trend],
  ] as const;
  return (
    <div className="aivo-monitor__part">
      <h3 className="aivo-monitor__subtitle">Performance</h3>
      <dl className="aivo-facts">
        {facts.map(([name, value]) => (
          <div className="aivo-facts__fact" key={name}>
            <dt>{name}</dt>
            <dd>{value}</dd>
          </div>
        ))}
      </dl>
    </div>
  );
}

function Recommendations({ details }: { details: Assessment }) {
  if (!details.recommendations) return null;
  return (
    <div className="aivo-monitor__part">
      <h3 className="aivo-monitor__subtitle">Recommendations</h3>
      {details.recommendations.length === 0 ? (
        <p className="aivo-monitor__empty">None at the moment.</p>
      ) : (
        <ul className="aivo-recommendations" aria-live="polite">
          {details.recommendations.map((sentence) => (
            <li key={sentence}>{sentence}</li>
          ))}
        </ul>
      )}
    </div>
  );
}

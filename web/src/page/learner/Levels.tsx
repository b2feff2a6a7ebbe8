/** The six levels: first how each stands to what is usual, numbers where they are asked for. */

import type { CognitiveState } from "@aivo/realtime";
import {
  bandInWords,
  levels,
  percent,
  toneOfBand,
  wordOf,
  type LearnerState,
  type LevelDescription,
} from "@aivo/realtime/react";
import { useId } from "react";
import { BecauseList } from "../parts/BecauseList";
import { UsualBar } from "../parts/LevelBar";
import { gradeInWords } from "../parts/words";

interface Props {
  readonly live: LearnerState;
  readonly numbers: boolean;
  setNumbers(on: boolean): void;
  /** Show the answers behind a level. */
  ask(key: keyof CognitiveState): void;
}

/** A card with all six. */
export function Levels({ live, numbers, setNumbers, ask }: Props) {
  return (
    <section className="card" aria-labelledby="levels">
      <div className="card__head">
        <h2 id="levels">Compared with what is usual</h2>
        <button
          type="button"
          className="chip"
          aria-pressed={numbers}
          onClick={() => setNumbers(!numbers)}
        >
          Numbers
        </button>
      </div>
      <ul className="levels">
        {levels.map((level) => (
          <Level key={level.key} level={level} live={live} numbers={numbers} ask={ask} />
        ))}
      </ul>
      <p className="soft legend">
        The stroke is now, the shade where this learner usually is.
        {numbers &&
          " ± is the range in which the true value probably lies; small print says what was checked with people and what was not. Heights of two learners cannot be compared."}
      </p>
    </section>
  );
}

function Level({
  level,
  live: { state, details },
  numbers,
  ask,
}: {
  readonly level: LevelDescription;
  readonly live: LearnerState;
  readonly numbers: boolean;
  ask(key: keyof CognitiveState): void;
}) {
  const label = useId();
  if (!state) return null;
  const { key } = level;
  const value = state[key];
  const { meaning } = details;
  const band = meaning?.bands[key];
  const words = band ? bandInWords(band) : wordOf(value);
  const uncertainty = details.uncertainty?.[key];
  const grade = gradeInWords(details.grades?.[key]);
  const usual: readonly [number, number] | undefined =
    meaning && band !== "too_early"
      ? [meaning.usual[key] - meaning.spread[key], meaning.usual[key] + meaning.spread[key]]
      : undefined;
  return (
    <li className="level" data-level={key} data-tone={band ? toneOfBand(level, band) : "calm"}>
      <div className="level__head">
        <button className="level__label" type="button" id={label} onClick={() => ask(key)}>
          {level.label}
          <span className="hidden">: show the answers behind it</span>
        </button>
        <span className="level__word">{words.replace(" than usual", "")}</span>
        {numbers && <span className="level__value">{percent(value)}</span>}
      </div>
      <div
        className="level__meter"
        role="meter"
        aria-label={level.label}
        aria-valuemin={0}
        aria-valuemax={100}
        aria-valuenow={Math.round(value * 100)}
        aria-valuetext={numbers ? `${words}, ${percent(value)}` : words}
      >
        <UsualBar value={value} usual={usual} />
      </div>
      {/* The explanation is a moment older than the band: it may be of another. */}
      {band !== "as_usual" && band !== "too_early" && (
        <BecauseList because={details.explanations?.[key]} />
      )}
      {numbers && (
        <p className="level__print">
          {usual && <span>usually {percent(meaning!.usual[key])}</span>}
          {typeof uncertainty === "number" && <span>± {percent(uncertainty)}</span>}
          {grade && <span title={grade[1]}>{grade[0]}</span>}
        </p>
      )}
    </li>
  );
}

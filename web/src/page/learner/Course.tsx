/** The levels over time: from the stored history, growing with every answer. */

import type { Meaning } from "@aivo/realtime";
import { levels, percent } from "@aivo/realtime/react";
import { useMemo, useState } from "react";
import { TimeChart, type Line, type Mark } from "../parts/TimeChart";
import { nameOfId } from "../parts/words";
import { verdict } from "./Answers";
import { at, type Entry } from "./past";
import { rangeOf, sessionTable, spanNames, spans, tableOf, within, type Span } from "./spans";
import type { History } from "./useHistory";

type Key = (typeof levels)[number]["key"];

const dashes: Partial<Record<Key, string>> = {
  motivation_level: "8 5",
  fatigue_level: "8 5",
  confidence_level: "2 4",
};
/** More shades than lines that can be told apart. */
const mostShades = 2;
/** More marks than can be seen. */
const mostMarks = 150;

interface Props {
  readonly history: History;
  readonly meaning: Meaning | undefined;
  readonly span: Span;
  readonly now: number;
  setSpan(span: Span): void;
  /** A moment was chosen, by its revision. */
  pick(revision: number): void;
}

/** Chart with switches for each level and for the span of time. */
export function Course({
  history: { entries, isLoading },
  meaning,
  span,
  now,
  setSpan,
  pick,
}: Props) {
  const [shown, setShown] = useState<ReadonlySet<Key>>(
    new Set(["engagement_level", "frustration_level"]),
  );
  const used = useMemo(() => within(span, entries ?? [], now), [span, entries, now]);
  const table = useMemo(
    () => (span === "weeks" ? sessionTable(used) : tableOf(used, wordsOf)),
    [span, used],
  );
  const lines = useMemo(
    () =>
      levels.flatMap(({ key, label }, i): Line[] =>
        shown.has(key)
          ? [
              {
                key,
                label,
                dash: dashes[key],
                values: table.rows[i]!,
                usual: shown.size <= mostShades ? usualOf(meaning, key) : undefined,
              },
            ]
          : [],
      ),
    [shown, table, meaning],
  );
  const marks = useMemo(
    () => (span === "weeks" ? [] : used.slice(-mostMarks).flatMap(markOf)),
    [span, used],
  );
  const toggle = (key: Key) =>
    setShown((old) =>
      old.has(key) ? new Set([...old].filter((one) => one !== key)) : new Set([...old, key]),
    );
  return (
    <section className="card" aria-labelledby="course" aria-busy={isLoading}>
      <div className="card__head">
        <h2 id="course">Over time</h2>
        <div className="choice choice--small" role="group" aria-label="Span">
          {spans.map((one) => (
            <button
              key={one}
              type="button"
              aria-pressed={span === one}
              onClick={() => setSpan(one)}
            >
              {spanNames[one]}
            </button>
          ))}
        </div>
      </div>
      <Switches shown={shown} toggle={toggle} />
      {used.length === 0 ? (
        <p className="soft" role="status">
          {isLoading ? "Loading" : "Nothing in this span. The lines begin with the first answer."}
        </p>
      ) : (
        <TimeChart
          label="Moment in the course of the levels"
          times={table.times}
          lines={lines}
          marks={marks}
          range={rangeOf(span, used, now)}
          unit="percent"
          summary={summaryOf(used, shown)}
          describe={(i) => table.words[i] ?? null}
          pick={(i) => table.revisions[i] != null && pick(table.revisions[i])}
        />
      )}
      {span !== "weeks" && used.length > 0 && (
        <p className="soft marks" aria-hidden="true">
          <b data-kind="right">✓</b> right <b data-kind="wrong">✕</b> wrong <b>+</b> hint · choose a
          moment to see its answers
        </p>
      )}
    </section>
  );
}

function Switches({ shown, toggle }: { shown: ReadonlySet<Key>; toggle(key: Key): void }) {
  return (
    <div className="chart__switches" role="group" aria-label="Lines">
      {levels.map(({ key, label }) => (
        <button
          key={key}
          type="button"
          className="chip"
          data-line={key}
          aria-pressed={shown.has(key)}
          onClick={() => toggle(key)}
        >
          <svg viewBox="0 0 18 4" width="18" height="4" aria-hidden="true" focusable="false">
            <line
              className="chip__line"
              x1="0"
              x2="18"
              y1="2"
              y2="2"
              strokeDasharray={dashes[key]}
            />
          </svg>
          {label}
        </button>
      ))}
    </div>
  );
}

function usualOf(meaning: Meaning | undefined, key: Key): readonly [number, number] | undefined {
  if (!meaning || meaning.bands[key] === "too_early") return undefined;
  const [usual, spread] = [meaning.usual[key], meaning.spread[key]];
  return [Math.max(0, usual - spread), Math.min(1, usual + spread)];
}

function markOf(entry: Entry): readonly Mark[] {
  const { correct } = entry.context;
  const kind =
    correct === true
      ? "right"
      : correct === false
        ? "wrong"
        : entry.type === "hint_request"
          ? "hint"
          : null;
  return kind === null ? [] : [{ at: at(entry) / 1_000, kind }];
}

function wordsOf(entry: Entry): string {
  const { skill } = entry.context;
  return typeof skill === "string" ? `${verdict(entry)}, ${nameOfId(skill)}` : verdict(entry);
}

function summaryOf(entries: readonly Entry[], shown: ReadonlySet<Key>): string {
  const first = entries[0];
  const last = entries.at(-1);
  if (!first || !last) return "Nothing yet";
  const minutes = Math.round((at(last) - at(first)) / 60_000);
  const changes = levels
    .filter(({ key }) => shown.has(key))
    .map(
      ({ key, label }) =>
        `${label} from ${percent(first.state[key])} to ${percent(last.state[key])}`,
    );
  return `${minutes} minutes. ${changes.join(", ")}.`;
}

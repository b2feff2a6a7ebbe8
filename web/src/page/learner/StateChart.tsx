/** The levels over time: from the stored history, growing with every answer. */

import { levels, percent } from "@aivo/realtime/react";
import { useMemo, useState } from "react";
import { TimeChart, type Line } from "../parts/TimeChart";
import type { Entry } from "./useHistory";

type Key = (typeof levels)[number]["key"];

/** A pause that ends a session in the model, too. */
const gapS = 30 * 60;
const dashes: Partial<Record<Key, string>> = {
  motivation_level: "8 5",
  fatigue_level: "8 5",
  confidence_level: "2 4",
};

/** Chart with switches for each level and for the span of time. */
export function StateChart({ entries }: { entries: readonly Entry[] | null }) {
  const [shown, setShown] = useState<ReadonlySet<Key>>(
    new Set(["engagement_level", "cognitive_load", "frustration_level"]),
  );
  const [all, setAll] = useState(false);
  const session = useMemo(() => lastSession(entries ?? []), [entries]);
  const used = all ? (entries ?? []) : session;
  const { times, values } = useMemo(() => table(used), [used]);
  if (entries === null)
    return (
      <p className="soft" role="status">
        Loading
      </p>
    );
  if (entries.length === 0) return <p className="soft">The lines begin with the first answer.</p>;
  const lines = levels.flatMap(({ key, label }, i): Line[] =>
    shown.has(key) ? [{ key, label, dash: dashes[key], values: values[i]! }] : [],
  );
  const toggle = (key: Key) =>
    setShown((old) =>
      old.has(key) ? new Set([...old].filter((one) => one !== key)) : new Set([...old, key]),
    );
  return (
    <>
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
      <TimeChart
        label="Moment in the course of the levels"
        times={times}
        lines={lines}
        unit="percent"
        summary={summaryOf(used, shown)}
      />
      {session.length < entries.length && (
        <div className="choice choice--small" role="group" aria-label="Span">
          <button type="button" aria-pressed={!all} onClick={() => setAll(false)}>
            This session
          </button>
          <button type="button" aria-pressed={all} onClick={() => setAll(true)}>
            All
          </button>
        </div>
      )}
    </>
  );
}

const seconds = ({ occurred_at }: Entry) => Date.parse(occurred_at) / 1_000;

function lastSession(entries: readonly Entry[]): readonly Entry[] {
  let first = Math.max(0, entries.length - 1);
  while (first > 0 && seconds(entries[first]!) - seconds(entries[first - 1]!) <= gapS) first -= 1;
  return entries.slice(first);
}

/**
 * Times and one row per level; a row of nulls where a session ended, so that no line runs through
 * the night.
 */
function table(entries: readonly Entry[]): {
  times: readonly number[];
  values: readonly (readonly (number | null)[])[];
} {
  const times: number[] = [];
  const rows: (number | null)[][] = levels.map(() => []);
  entries.forEach((entry, i) => {
    const at = seconds(entry);
    const before = i > 0 ? seconds(entries[i - 1]!) : at;
    if (at - before > gapS) {
      times.push(before + 1);
      rows.forEach((row) => row.push(null));
    }
    times.push(at);
    levels.forEach(({ key }, line) => rows[line]!.push(entry.state[key]));
  });
  return { times, values: rows };
}

function summaryOf(entries: readonly Entry[], shown: ReadonlySet<Key>): string {
  const first = entries[0];
  const last = entries.at(-1);
  if (!first || !last) return "Nothing yet";
  const minutes = Math.round((seconds(last) - seconds(first)) / 60);
  const changes = levels
    .filter(({ key }) => shown.has(key))
    .map(
      ({ key, label }) =>
        `${label} from ${percent(first.state[key])} to ${percent(last.state[key])}`,
    );
  return `${minutes} minutes. ${changes.join(", ")}.`;
}

/** The answers behind what is shown: the latest, those that moved a level, or those on a skill. */

import { levels, percent } from "@aivo/realtime/react";
import { useNow } from "../frame/hooks";
import { ageInWords, interactionInWords, nameOfId, signed } from "../parts/words";
import { behind, type Behind, type Focus } from "./behind";
import type { Entry } from "./past";

interface Props {
  readonly entries: readonly Entry[] | null;
  readonly focus: Focus;
  reset(): void;
}

/** A card with some of them. */
export function Answers({ entries, focus, reset }: Props) {
  const now = useNow(10_000);
  if (!entries?.length) return null;
  const shown = behind(entries, focus);
  return (
    <section className="card" aria-labelledby="recent" id="answers" tabIndex={-1}>
      <div className="card__head">
        <h2 id="recent">{titleOf(focus)}</h2>
        {focus.kind !== "latest" && (
          <button type="button" className="chip" onClick={reset}>
            Latest activity
          </button>
        )}
      </div>
      {shown.length === 0 && <p className="soft">No answer has moved it in this session.</p>}
      <ol className="recent" reversed>
        {shown.map((one) => (
          <Answer key={one.entry.revision} behind={one} now={now} />
        ))}
      </ol>
    </section>
  );
}

function titleOf(focus: Focus): string {
  switch (focus.kind) {
    case "latest":
      return "Latest activity";
    case "moment":
      return "Around this moment";
    case "skill":
      return `Answers on ${focus.skill === "" ? "all tasks" : nameOfId(focus.skill).toLowerCase()}`;
    case "level":
      return `What moved ${levels.find(({ key }) => key === focus.key)!.label.toLowerCase()} most`;
  }
}

function Answer({
  behind: { entry, moved, became, isChosen },
  now,
}: {
  behind: Behind;
  now: number;
}) {
  return (
    <li data-correct={String(entry.context.correct ?? "")} data-chosen={isChosen}>
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
      <span className="recent__moved">
        {moved !== null && <b>{signed(moved)}</b>}
        {became !== null && <span className="soft"> to {percent(became)}</span>}
      </span>
      <span className="recent__age">{ageInWords(now - Date.parse(entry.occurred_at))}</span>
    </li>
  );
}

/** What became of a task. */
export function verdict({ type, context }: Entry): string {
  if (context.correct === true) return "Right";
  return context.correct === false ? "Wrong" : interactionInWords(type);
}

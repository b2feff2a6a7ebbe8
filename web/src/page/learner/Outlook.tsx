/** Whether somebody should help, what is likely next, and what could be done. */

import type { Assessment, Struggle } from "@aivo/realtime";
import { percent } from "@aivo/realtime/react";
import { ageInWords } from "../parts/words";
import { BecauseList } from "../parts/BecauseList";

const urgencies: Readonly<Record<string, string>> = {
  high: "now",
  medium: "soon",
  low: "when it fits",
};

interface Props {
  readonly details: Assessment;
  readonly numbers: boolean;
  readonly now: number;
}

/** Attention, forecast and advice. */
export function Outlook({ details, numbers, now }: Props) {
  const { meaning, recommendations, actions } = details;
  return (
    <section className="card card--advice" aria-labelledby="advice">
      <h2 id="advice">What could help</h2>
      {meaning?.attention.reason && (
        <p className="attention" data-level={meaning.attention.level} role="status">
          {meaning.attention.level !== "none" && (
            <strong>{meaning.attention.level === "now" ? "Needs help now" : "Worth a look"}</strong>
          )}{" "}
          {meaning.attention.reason}
          {meaning.attention.since && (
            <span className="advice__when">
              {" "}
              {ageInWords(now - Date.parse(meaning.attention.since))}
            </span>
          )}
        </p>
      )}
      {recommendations?.length ? (
        <ul className="advice" aria-live="polite">
          {recommendations.map((sentence, i) => {
            const urgency = String(actions?.[i]?.urgency ?? "none");
            return (
              <li key={sentence} data-urgency={urgency}>
                <p>
                  {sentence}{" "}
                  {urgencies[urgency] && <span className="advice__when">{urgencies[urgency]}</span>}
                </p>
                <BecauseList because={actions?.[i]?.because} />
              </li>
            );
          })}
        </ul>
      ) : (
        <p className="soft">Nothing at the moment.</p>
      )}
      {meaning?.struggle && <Forecast struggle={meaning.struggle} numbers={numbers} />}
    </section>
  );
}

/** So far from what is usual, a likelihood is told as another. */
const apart = 0.1;

function Forecast({ struggle, numbers }: { struggle: Struggle; numbers: boolean }) {
  const { probability, usual, because } = struggle;
  const side = probability > usual + apart ? "up" : probability < usual - apart ? "down" : null;
  const words =
    side === "up"
      ? "More mistakes than usual are likely in the next three tasks."
      : side === "down"
        ? "Fewer mistakes than usual are likely in the next three tasks."
        : "The next three tasks are likely to go as usual.";
  // What pulls the other way does not explain it.
  const reasons = because.filter(({ direction }) => side === null || direction === side);
  return (
    <div className="forecast">
      <p>
        {words}
        {numbers && (
          <span className="soft">
            {" "}
            At least two of them wrong: {percent(probability)} likely; {percent(usual)} among all
            learners of the subject.
          </span>
        )}
      </p>
      <BecauseList because={reasons} />
    </div>
  );
}

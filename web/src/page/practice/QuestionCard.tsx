/** One task: to answer, to ask for a hint, to go on. */

import { useEffect, useId, useLayoutEffect, useRef, useState, type FormEvent } from "react";
import type { Practice } from "./usePractice";
import { nameOfId } from "../parts/words";
import { texts } from "./words";

/** The task in hand. */
export function QuestionCard({ practice }: { practice: Practice }) {
  const { task, outcome, attempts, hintsShown } = practice;
  const [text, setText] = useState("");
  const input = useRef<HTMLInputElement>(null);
  const onward = useRef<HTMLButtonElement>(null);
  const ids = { question: useId(), feedback: useId() };
  const done = outcome === "right";
  useNewTask(task, () => {
    setText("");
    input.current?.focus();
  });
  useEffect(() => {
    if (done) onward.current?.focus();
  }, [done]);
  const submit = (event: FormEvent) => {
    event.preventDefault();
    if (!done && text.trim() !== "") practice.answer(text);
    if (!done) input.current?.select();
  };
  return (
    <section className="card question" aria-labelledby={ids.question}>
      <p className="question__kind">{nameOfId(task.skill)}</p>
      <h2 className="question__text" id={ids.question}>
        {task.question}
      </h2>
      <form onSubmit={submit}>
        <input
          ref={input}
          className="question__input"
          value={text}
          onChange={(event) => setText(event.target.value)}
          readOnly={done}
          inputMode="decimal"
          autoComplete="off"
          aria-label={texts.yourAnswer}
          aria-describedby={ids.feedback}
        />
        {/* The keys make them two buttons: one that turned into the other while clicked would submit the form as well. */}
        {done ? (
          <button
            key="next"
            ref={onward}
            className="button button--main"
            type="button"
            onClick={practice.next}
          >
            {texts.next}
          </button>
        ) : (
          <button key="answer" className="button button--main" type="submit">
            {texts.answer}
          </button>
        )}
      </form>
      <p
        className="question__feedback"
        id={ids.feedback}
        role="status"
        data-outcome={outcome ?? ""}
      >
        {feedback(practice)}
      </p>
      {hintsShown > 0 && (
        <ul className="question__hints" aria-live="polite">
          {task.hints.slice(0, hintsShown).map((hint) => (
            <li key={hint}>{hint}</li>
          ))}
        </ul>
      )}
      {!done && (
        <div className="question__more">
          <button
            className="button"
            type="button"
            onClick={practice.hint}
            disabled={hintsShown >= task.hints.length}
          >
            {hintsShown === 0 ? texts.hint : texts.anotherHint}
          </button>
          {attempts > 0 && (
            <button className="button button--quiet" type="button" onClick={practice.next}>
              {texts.another}
            </button>
          )}
        </div>
      )}
    </section>
  );
}

/** Something to do whenever another task comes, but not at the first. */
function useNewTask(task: Practice["task"], act: () => void): void {
  const before = useRef(task);
  // Before anybody can type into what is about to be emptied.
  useLayoutEffect(() => {
    if (before.current === task) return;
    before.current = task;
    act();
  });
}

function feedback({ outcome, attempts }: Practice): string {
  switch (outcome) {
    case "right":
      return attempts === 1 ? texts.right : texts.rightAfterTrying;
    case "wrong":
      return attempts === 1 ? texts.notYet : texts.notYetAgain;
    case "not_a_number":
      return texts.notANumber;
    default:
      return "";
  }
}

/**
 * The course of practising: which task, which try, what was given and what became of it. Draws
 * nothing.
 */

import type { CognitiveState, InteractionContext, InteractionType } from "@aivo/realtime";
import { useWebSocketContext, type LearnerState } from "@aivo/realtime/react";
import { useCallback, useEffect, useRef, useState } from "react";
import { makeTask, nextDifficulty, readAnswer, skills, type Skill, type Task } from "./quiz";

/** What became of something given. */
export type Fate =
  | { readonly kind: "waiting" }
  | {
      readonly kind: "recorded";
      readonly before: CognitiveState | null;
      readonly after: CognitiveState;
      readonly expected: number | null;
    }
  | { readonly kind: "failed" };

/** An answer or a request for a hint. */
export interface Given {
  readonly interactionId: string;
  readonly what: "right" | "wrong" | "hint";
  readonly question: string;
  readonly skill: Skill;
  readonly state: Fate;
}

/** Where practising stands, and what can be done. */
export interface Practice {
  readonly task: Task;
  readonly attempts: number;
  readonly hintsShown: number;
  /** Of the last try on this task. */
  readonly outcome: "right" | "wrong" | "not_a_number" | null;
  readonly given: readonly Given[];
  answer(text: string): void;
  hint(): void;
  next(): void;
}

interface Sheet {
  readonly task: Task;
  readonly attempts: number;
  readonly hintsShown: number;
  readonly outcome: Practice["outcome"];
}

const fresh = (skill: Skill, difficulty: number): Sheet => ({
  task: makeTask(skill, difficulty, Math.random),
  attempts: 0,
  hintsShown: 0,
  outcome: null,
});

/** Practise as a learner; `live` is what is known of them. */
export function usePractice(learnerId: string, live: LearnerState): Practice {
  const { client } = useWebSocketContext();
  const [sheet, setSheet] = useState(() => fresh(skills[0], 2));
  const [given, setGiven] = useState<readonly Given[]>([]);
  const clock = useAttention(sheet.task);

  const record = useCallback(
    (
      what: Given["what"],
      task: Task,
      type: InteractionType,
      context: InteractionContext,
      response?: string,
    ) => {
      const before = client.getLearner(learnerId)?.state ?? null;
      const { interaction_id: interactionId, acknowledged } = client.sendVirtualBrainInteraction({
        learner_id: learnerId,
        type,
        content: task.question,
        ...(response === undefined ? {} : { response }),
        context: {
          ...context,
          subject: "math",
          skill: task.skill,
          difficulty: task.difficulty,
          item_id: task.itemId,
        },
      });
      setGiven((old) => [
        ...old,
        {
          interactionId,
          what,
          question: task.question,
          skill: task.skill,
          state: { kind: "waiting" },
        },
      ]);
      const become = (state: Fate) =>
        setGiven((old) =>
          old.map((one) => (one.interactionId === interactionId ? { ...one, state } : one)),
        );
      acknowledged.then(
        ({ result }) =>
          become(
            result.state
              ? {
                  kind: "recorded",
                  before,
                  after: result.state,
                  expected: result.predicted_correct ?? null,
                }
              : { kind: "failed" },
          ),
        () => become({ kind: "failed" }),
      );
    },
    [client, learnerId],
  );

  const answer = (text: string) => {
    const number = readAnswer(text);
    if (number === null) return setSheet({ ...sheet, outcome: "not_a_number" });
    const correct = number === sheet.task.answer;
    const attempts = sheet.attempts + 1;
    const context = { correct, time_taken: clock.take(), attempts, hints: sheet.hintsShown };
    record(correct ? "right" : "wrong", sheet.task, "question_response", context, text.trim());
    setSheet({ ...sheet, attempts, outcome: correct ? "right" : "wrong" });
  };
  const hint = () => {
    if (sheet.hintsShown >= sheet.task.hints.length) return;
    record("hint", sheet.task, "hint_request", {
      hints: sheet.hintsShown + 1,
      attempts: sheet.attempts,
    });
    setSheet({ ...sheet, hintsShown: sheet.hintsShown + 1 });
  };
  const next = () => {
    const skill = skills[(skills.indexOf(sheet.task.skill) + 1) % skills.length]!;
    setSheet(
      fresh(
        skill,
        nextDifficulty(sheet.task.difficulty, sheet.outcome === "right", live.details.actions),
      ),
    );
  };
  return { ...sheet, given, answer, hint, next };
}

/** Measures the seconds spent with a task while the page was looked at. */
function useAttention(task: Task): { take(): number } {
  const spent = useRef({ ms: 0, since: 0 });
  useEffect(() => {
    const begin = () => (document.visibilityState === "visible" ? performance.now() : 0);
    spent.current = { ms: 0, since: begin() };
    const look = () => {
      const { ms, since } = spent.current;
      spent.current = { ms: ms + (since ? performance.now() - since : 0), since: begin() };
    };
    document.addEventListener("visibilitychange", look);
    return () => document.removeEventListener("visibilitychange", look);
  }, [task]);
  const take = useCallback(() => {
    const { ms, since } = spent.current;
    const now = performance.now();
    spent.current = { ms: 0, since: now };
    return Math.round((ms + (since ? now - since : 0)) / 10) / 100;
  }, []);
  return { take };
}

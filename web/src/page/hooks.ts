/** What several views need: time passing, many learners at once, and answers of the HTTP API. */

import type { LearnerView } from "@aivo/realtime";
import { useWebSocketContext } from "@aivo/realtime/react";
import { createContext, useContext, useEffect, useMemo, useState, useSyncExternalStore } from "react";
import type { Session, User } from "./session";

/** A learner one may watch. */
export interface Learner {
  readonly learner_id: string;
  readonly display_name: string;
  readonly class_ids: readonly string[];
  /** By class id, where the school gave one. */
  readonly class_names: Readonly<Record<string, string>>;
}

/** What everybody inside the page may know. */
export interface Surroundings {
  readonly session: Session;
  readonly user: User;
  /** Null while not loaded yet. */
  readonly learners: readonly Learner[] | null;
}

export const SurroundingsContext = createContext<Surroundings | null>(null);

/** The session, the user and their learners. */
export function useSurroundings(): Surroundings {
  const value = useContext(SurroundingsContext);
  if (value === null) throw new Error("useSurroundings must be used within the page");
  return value;
}

/** What the browser's tab says. */
export function useTitle(text: string): void {
  useEffect(() => {
    document.title = `${text} · AIVO`;
  }, [text]);
}

/** The present, renewed every so often; for ages. */
export function useNow(everyMs: number): number {
  const [now, setNow] = useState(Date.now);
  useEffect(() => {
    const timer = setInterval(() => setNow(Date.now()), everyMs);
    return () => clearInterval(timer);
  }, [everyMs]);
  return now;
}

/** Watch several learners; the same array as long as nothing about any of them changed. */
export function useLearnerViews(ids: readonly string[], minIntervalMs: number): readonly (LearnerView | undefined)[] {
  const { client } = useWebSocketContext();
  useEffect(() => {
    const stops = ids.map((id) => client.subscribeLearner(id, { minIntervalMs }));
    return () => stops.forEach((stop) => stop());
  }, [client, ids, minIntervalMs]);
  const read = useMemo(() => {
    let held: readonly (LearnerView | undefined)[] = [];
    return () => {
      const next = ids.map((id) => client.getLearner(id));
      if (next.length !== held.length || next.some((view, i) => view !== held[i])) held = next;
      return held;
    };
  }, [client, ids]);
  return useSyncExternalStore(client.subscribe, read, read);
}

/** When the state shown came about, ms since 1970; null while there is none. */
export function occurredAt(view: LearnerView | undefined): number | null {
  const told = view?.update?.occurred_at;
  return told ? Date.parse(told) : (view?.updatedAt ?? null);
}

/** Ask the API now and every `everyMs` while the page is visible. Keeps the last answer when asking fails. */
export function usePolled<T>(path: string, everyMs: number): { data: T | null; failed: boolean } {
  const { session } = useSurroundings();
  const [answer, setAnswer] = useState<{ data: T | null; failed: boolean }>({ data: null, failed: false });
  useEffect(() => {
    const stop = new AbortController();
    const ask = async () => {
      if (document.visibilityState === "hidden") return;
      try {
        const data = await session.get<T>(path, stop.signal);
        if (!stop.signal.aborted) setAnswer({ data, failed: false });
      } catch {
        if (!stop.signal.aborted) setAnswer((old) => ({ ...old, failed: true }));
      }
    };
    void ask();
    const timer = setInterval(() => void ask(), everyMs);
    const look = () => void ask();
    document.addEventListener("visibilitychange", look, { signal: stop.signal });
    return () => {
      stop.abort();
      clearInterval(timer);
    };
  }, [session, path, everyMs]);
  return answer;
}

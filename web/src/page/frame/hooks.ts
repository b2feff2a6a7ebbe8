/** What several views need: time passing, many learners at once, and answers of the HTTP API. */

import type { LearnerView } from "@aivo/realtime";
import { useWebSocketContext } from "@aivo/realtime/react";
import {
  createContext,
  useCallback,
  useContext,
  useEffect,
  useMemo,
  useState,
  useSyncExternalStore,
} from "react";
import type { Session, User } from "./session";
import { follow } from "./stream";

/** A learner one may watch. */
export interface Learner {
  readonly learner_id: string;
  readonly display_name: string;
  readonly class_ids: readonly string[];
  /** By class id, where the school gave one. */
  readonly class_names: Readonly<Record<string, string>>;
}

/** What everybody inside the page may know. */
export interface PageContext {
  readonly session: Session;
  readonly user: User;
  /** Null while not loaded yet. */
  readonly learners: readonly Learner[] | null;
}

export const PageReactContext = createContext<PageContext | null>(null);

/** The session, the user and their learners. */
export function usePage(): PageContext {
  const value = useContext(PageReactContext);
  if (value === null) throw new Error("usePage must be used within the page");
  return value;
}

/** What the browser's tab says. */
export function useTitle(text: string): void {
  useEffect(() => {
    document.title = `${text} · AIVO`;
  }, [text]);
}

/**
 * The present by the server's clock, renewed every so often; for ages. School tablets' clocks are
 * wrong by minutes and hours.
 */
export function useNow(everyMs: number): number {
  const { client, isConnected } = useWebSocketContext();
  const [now, setNow] = useState(() => client.serverNow);
  useEffect(() => {
    const look = () => setNow(client.serverNow);
    look(); // what the first connection taught of the clock counts at once
    const timer = setInterval(look, everyMs);
    return () => clearInterval(timer);
  }, [client, isConnected, everyMs]);
  return now;
}

/** So often at most a list is drawn anew, however many of its learners answer at once. */
const drawMs = 250;

/** Watch several learners; the same array as long as nothing about any of them changed. */
export function useLearnerViews(
  ids: readonly string[],
  minIntervalMs: number,
): readonly (LearnerView | undefined)[] {
  const { client } = useWebSocketContext();
  useEffect(() => {
    const stops = ids.map((id) => client.subscribeLearner(id, { minIntervalMs }));
    return () => stops.forEach((stop) => stop());
  }, [client, ids, minIntervalMs]);
  // What is read changes with `renew` only: whoever draws for another reason draws the same.
  const { read, renew } = useMemo(() => {
    let held: readonly (LearnerView | undefined)[] = [];
    const renew = () => {
      const next = ids.map((id) => client.getLearner(id));
      if (next.length !== held.length || next.some((view, i) => view !== held[i])) held = next;
    };
    renew();
    return { read: () => held, renew };
  }, [client, ids]);
  const subscribe = useCallback(
    (listener: () => void) => {
      let timer: ReturnType<typeof setTimeout> | undefined;
      const soon = () => {
        timer ??= setTimeout(() => {
          timer = undefined;
          renew();
          listener();
        }, drawMs);
      };
      renew();
      const stop = client.subscribe(soon);
      return () => {
        stop();
        clearTimeout(timer);
      };
    },
    [client, renew],
  );
  return useSyncExternalStore(subscribe, read, read);
}

/** When the state shown came about, ms since 1970; null while there is none. */
export function occurredAt(view: LearnerView | undefined): number | null {
  const told = view?.update?.occurred_at;
  return told ? Date.parse(told) : (view?.updatedAt ?? null);
}

/**
 * Follow a stream of the API while the page is visible: a hidden tab would hold one of the few
 * connections that a browser opens to a server. Keeps the last value when there is no newer one
 * to be had.
 */
export function useStreamed<T>(path: string): { data: T | null; failed: boolean } {
  const { session } = usePage();
  const [answer, setAnswer] = useState<{ data: T | null; failed: boolean }>({
    data: null,
    failed: false,
  });
  useEffect(() => {
    let stop = new AbortController();
    const look = () => {
      stop.abort();
      if (document.visibilityState === "hidden") return;
      stop = new AbortController();
      const told = (data: T | null) =>
        setAnswer((old) => (data === null ? { ...old, failed: true } : { data, failed: false }));
      void follow((signal) => session.open(path, signal), told, stop.signal);
    };
    look();
    document.addEventListener("visibilitychange", look);
    return () => {
      document.removeEventListener("visibilitychange", look);
      stop.abort();
    };
  }, [session, path]);
  return answer;
}

/**
 * A learner's past, which grows with every answer and reaches back as far as is wanted: asks the
 * stored history, one question at a time.
 */

import type { LearnerView } from "@aivo/realtime";
import { useEffect, useMemo, useState } from "react";
import { usePage } from "../frame/hooks";
import { nextQuestion, withPage, type Entry, type Page, type Past } from "./past";

/** Never more than one question per this long, however fast the answers come. */
const pauseMs = 1_000;
const retryMs = 3_000;

/** The past as it is here; null before the first answer. */
export interface History {
  readonly entries: readonly Entry[] | null;
  /** Older entries that are wanted are still to come. */
  readonly isLoading: boolean;
}

/** `view` is what is known from elsewhere: the history catches up with it, also after a break. */
export function useHistory(
  learnerId: string,
  view: LearnerView | undefined,
  sinceMs: number | null,
): History {
  const { session } = usePage();
  const [past, setPast] = useState<Past | null>(null);
  const [asked, setAsked] = useState(0);
  const question = nextQuestion(
    past,
    { epoch: view?.epoch ?? null, revision: view?.revision ?? null },
    sinceMs,
  );
  const { kind, query } = question ?? {};
  useEffect(() => {
    if (kind === undefined || query === undefined) return undefined;
    const stop = new AbortController();
    let timer: ReturnType<typeof setTimeout>;
    const again = (ms: number) => {
      timer = setTimeout(() => setAsked((count) => count + 1), ms);
    };
    const path = `/api/learners/${encodeURIComponent(learnerId)}/history?${query}`;
    const ask = () =>
      session.get<Page>(path, stop.signal).then(
        (page) => {
          if (stop.signal.aborted) return;
          setPast((old) => withPage(old, { kind, query }, page));
          if (page.entries.length === 0 && kind === "newer") again(retryMs);
        },
        () => {
          if (!stop.signal.aborted) again(retryMs);
        },
      );
    if (kind === "newer") timer = setTimeout(() => void ask(), pauseMs);
    else void ask();
    return () => {
      stop.abort();
      clearTimeout(timer);
    };
    // A newer revision while one question is under way needs no question of its own.
  }, [session, learnerId, kind, query, asked]);
  const entries = past?.entries ?? null;
  const isLoading = kind === "newest" || kind === "older";
  return useMemo(() => ({ entries, isLoading }), [entries, isLoading]);
}

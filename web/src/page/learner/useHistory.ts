/**
 * A learner's past, which grows with every answer: starts from the stored history and asks for what
 * is new.
 */

import type { CognitiveState, LearnerView, PerformanceMetrics } from "@aivo/realtime";
import { useEffect, useState } from "react";
import { usePage } from "../frame/hooks";

/** One interaction with the state after it, as `/api/learners/{id}/history` tells. */
export interface Entry {
  readonly revision: number;
  readonly interaction_id: string;
  readonly type: string;
  readonly content: string;
  readonly response: string | null;
  readonly context: {
    readonly correct?: unknown;
    readonly skill?: unknown;
    readonly [more: string]: unknown;
  };
  readonly occurred_at: string;
  readonly state: CognitiveState;
  readonly performance: PerformanceMetrics;
}

interface Page {
  readonly epoch: string;
  readonly entries: readonly Entry[];
  readonly has_more: boolean;
}

interface Past {
  readonly epoch: string;
  readonly entries: readonly Entry[];
}

const atFirst = 500;
/** Never more than one question per this long, however fast the answers come. */
const pauseMs = 1_000;
const retryMs = 3_000;
const kept = 2_000;

/**
 * The newest entries, oldest first; null before the first answer. `view` is what is known from
 * elsewhere: whenever it is ahead of the history, the history catches up, also after a break.
 */
export function useHistory(
  learnerId: string,
  view: LearnerView | undefined,
): readonly Entry[] | null {
  const { session } = usePage();
  const [past, setPast] = useState<Past | null>(null);
  const [asked, setAsked] = useState(0);
  const last = past?.entries.at(-1)?.revision ?? 0;
  // Another epoch: the store was replaced, and revisions began again.
  const restart = past === null || (view?.epoch != null && view.epoch !== past.epoch);
  const behind = restart || (view?.revision ?? 0) > last;
  useEffect(() => {
    if (!behind) return undefined;
    const stop = new AbortController();
    const query = restart ? `newest=true&limit=${atFirst}` : `after=${last}&limit=1000`;
    let timer: ReturnType<typeof setTimeout>;
    const again = (ms: number) => {
      timer = setTimeout(() => setAsked((count) => count + 1), ms);
    };
    const ask = () =>
      session
        .get<Page>(`/api/learners/${encodeURIComponent(learnerId)}/history?${query}`, stop.signal)
        .then(
          (page) => {
            if (stop.signal.aborted) return;
            setPast((old) => joined(restart ? null : old, page));
            if (page.entries.length === 0 && !restart) again(retryMs);
          },
          () => {
            if (!stop.signal.aborted) again(retryMs);
          },
        );
    if (past === null) void ask();
    else timer = setTimeout(() => void ask(), pauseMs);
    return () => {
      stop.abort();
      clearTimeout(timer);
    };
    // A newer revision while one question is under way needs no question of its own.
  }, [session, learnerId, behind, restart, last, asked]);
  return past?.entries ?? null;
}

function joined(old: Past | null, page: Page): Past {
  if (old === null || old.epoch !== page.epoch) return { epoch: page.epoch, entries: page.entries };
  const last = old.entries.at(-1)?.revision ?? 0;
  return {
    epoch: old.epoch,
    entries: [...old.entries, ...page.entries.filter((entry) => entry.revision > last)].slice(
      -kept,
    ),
  };
}

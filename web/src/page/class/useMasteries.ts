/** What each learner of a class has mastered: asked for when it is looked at, and anew as it grows. */

import type { Assessment, LearnerView } from "@aivo/realtime";
import { useEffect, useMemo, useRef, useState } from "react";
import { usePage, type Learner } from "../frame/hooks";
import type { Session } from "../frame/session";
import type { Mastery } from "./skills";

const atOnce = 4;
/** Mastery moves slowly: newer answers are asked about so often. */
const againMs = 20_000;
/** While learners are still arriving, at the beginning. */
const soonMs = 500;

interface Known {
  readonly revision: number | null;
  readonly mastery: Mastery;
}

/** Mastery by learner, and whether all that exist are there. */
export function useMasteries(
  learners: readonly Learner[],
  views: readonly (LearnerView | undefined)[],
): { readonly masteries: ReadonlyMap<string, Mastery>; readonly isWhole: boolean } {
  const { session } = usePage();
  const [known, setKnown] = useState<ReadonlyMap<string, Known>>(new Map());
  const [round, setRound] = useState(0);
  const newest = useRef({ known, learners, views });
  newest.current = { known, learners, views };
  const masteries = useMemo(
    () => new Map([...known].map(([id, { mastery }]) => [id, mastery])),
    [known],
  );
  const isWhole = learners.every(
    ({ learner_id }, i) => known.has(learner_id) || (views[i] && !views[i].state),
  );
  useEffect(() => {
    const stop = new AbortController();
    let timer: ReturnType<typeof setTimeout> | undefined;
    void ask(session, staleOf(newest.current), stop.signal, (some) =>
      setKnown((old) => new Map([...old, ...some])),
    ).then(() => {
      if (stop.signal.aborted) return;
      timer = setTimeout(() => setRound((old) => old + 1), isWhole ? againMs : soonMs);
    });
    return () => {
      stop.abort();
      clearTimeout(timer);
    };
  }, [session, learners, isWhole, round]);
  return { masteries, isWhole };
}

function staleOf({
  known,
  learners,
  views,
}: {
  known: ReadonlyMap<string, Known>;
  learners: readonly Learner[];
  views: readonly (LearnerView | undefined)[];
}): readonly string[] {
  return learners.flatMap(({ learner_id }, i) =>
    views[i]?.state && known.get(learner_id)?.revision !== views[i].revision ? [learner_id] : [],
  );
}

/** Ask for some, a few at a time; what cannot be had is asked for in the next round. */
async function ask(
  session: Session,
  ids: readonly string[],
  signal: AbortSignal,
  told: (some: ReadonlyMap<string, Known>) => void,
): Promise<void> {
  for (let i = 0; i < ids.length && !signal.aborted; i += atOnce) {
    const answers = await Promise.allSettled(
      ids.slice(i, i + atOnce).map(async (id) => {
        const path = `/api/learners/${encodeURIComponent(id)}/state`;
        const { revision, mastery } = await session.get<Assessment & { revision: number }>(
          path,
          signal,
        );
        return [id, { revision, mastery: mastery ?? null }] as const;
      }),
    );
    const some = answers.flatMap((one) => (one.status === "fulfilled" ? [one.value] : []));
    if (!signal.aborted && some.length > 0) told(new Map(some));
  }
}

/** Watches the learners of an adult, whatever view is open: the class view shows, notices tell. */

import type { LearnerView } from "@aivo/realtime";
import { createContext, useContext, useMemo, useState, type ReactNode } from "react";
import { useLearnerViews, usePage, type Learner } from "./hooks";

/** A socket may watch 256 learners; a few are left for the other views. */
const mostAtOnce = 240;
const noLearners: readonly Learner[] = [];

interface Watching {
  /** Of the chosen class; more than are watched in a large school. */
  readonly inClass: readonly Learner[];
  /** Those that are watched, and what is known of each, in the same order. */
  readonly watched: readonly Learner[];
  readonly views: readonly (LearnerView | undefined)[];
  /** The id of the chosen class; null for all. */
  readonly chosen: string | null;
  choose(id: string | null): void;
}

const WatchingContext = createContext<Watching | null>(null);

/** The learners of whoever is logged in, as they are now. */
export function useWatching(): Watching {
  const value = useContext(WatchingContext);
  if (value === null) throw new Error("useWatching must be used by an adult's view");
  return value;
}

/** Watch, for everything inside. */
export function Watching({ children }: { children: ReactNode }) {
  const { learners } = usePage();
  const [chosen, choose] = useState<string | null>(null);
  const all = learners ?? noLearners;
  const inClass = useMemo(
    () => all.filter(({ class_ids }) => chosen === null || class_ids.includes(chosen)),
    [all, chosen],
  );
  const watched = useMemo(() => inClass.slice(0, mostAtOnce), [inClass]);
  const ids = useMemo(() => watched.map(({ learner_id }) => learner_id), [watched]);
  const views = useLearnerViews(ids, 1_000);
  const value = useMemo(
    () => ({ inClass, watched, views, chosen, choose }),
    [inClass, watched, views, chosen],
  );
  return <WatchingContext value={value}>{children}</WatchingContext>;
}

/** Loads a learner's last minutes when their row comes into sight, and goes on with what comes live. */

import type { LearnerView } from "@aivo/realtime";
import { useEffect, useState, type RefObject } from "react";
import { usePage } from "../frame/hooks";
import type { Session } from "../frame/session";
import { emptyCourse, withPast, withView, type Brief, type Course } from "./course";

const pageSize = 120;
/** Longer sessions are told as "over" what was loaded. */
const mostPages = 3;

/** The last minutes of a learner, empty until `row` was seen. */
export function useCourse(
  learnerId: string,
  view: LearnerView | undefined,
  row: RefObject<HTMLElement | null>,
): Course {
  const { session } = usePage();
  const [course, setCourse] = useState(emptyCourse);
  const isSeen = useSeen(row);
  const hasState = view?.state != null;
  useEffect(() => {
    if (!isSeen || !hasState) return undefined;
    const stop = new AbortController();
    void load(session, learnerId, stop.signal, setCourse);
    return () => stop.abort();
  }, [session, learnerId, isSeen, hasState, view?.epoch]);
  useEffect(() => {
    if (isSeen) setCourse((old) => withView(old, view));
  }, [isSeen, view]);
  return course;
}

interface Page {
  readonly epoch: string;
  readonly entries: readonly Brief[];
}

/** Two at a time: a class of 200 must not ask 200 questions at once. */
let free: readonly Promise<unknown>[] = [Promise.resolve(), Promise.resolve()];

async function load(
  session: Session,
  learnerId: string,
  signal: AbortSignal,
  set: (change: (old: Course) => Course) => void,
): Promise<void> {
  const path = `/api/learners/${encodeURIComponent(learnerId)}/history?brief=true&limit=${pageSize}`;
  const [turn, ...others] = free;
  const work = turn!.then(async () => {
    let query = "newest=true";
    let loaded = emptyCourse;
    for (let pages = 0; pages < mostPages && !signal.aborted; pages += 1) {
      const { epoch, entries } = await session.get<Page>(`${path}&${query}`, signal);
      const first = entries[0]?.revision ?? 1;
      loaded = withPast(loaded, epoch, entries, first === 1);
      set((old) => withPast(old, epoch, entries, first === 1));
      if (loaded.isWhole) return;
      query = `after=${Math.max(0, first - 1 - pageSize)}`;
    }
  });
  free = [...others, work.catch(() => {})];
  await work.catch(() => {});
}

/** True once an element was in sight. */
function useSeen(element: RefObject<HTMLElement | null>): boolean {
  const [isSeen, setSeen] = useState(false);
  useEffect(() => {
    if (isSeen || !element.current) return undefined;
    const observer = new IntersectionObserver(
      (entries) => entries.some(({ isIntersecting }) => isIntersecting) && setSeen(true),
    );
    observer.observe(element.current);
    return () => observer.disconnect();
  }, [element, isSeen]);
  return isSeen;
}

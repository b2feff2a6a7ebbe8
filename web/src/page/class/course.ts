/** The last minutes of a learner: how right they were, and since when they have been at it. Pure. */

import type { LearnerView } from "@aivo/realtime";

/** An entry of `/api/learners/{id}/history?brief=true`. */
export interface Brief {
  readonly revision: number;
  readonly type: string;
  readonly occurred_at: string;
  readonly correct: unknown;
  /** After it, recent ones weigh more; [0, 1]. */
  readonly accuracy: number;
}

/** A moment on the small line. */
export interface Moment {
  readonly revision: number;
  /** ms since 1970. */
  readonly at: number;
  readonly accuracy: number;
}

export interface Course {
  readonly epoch: string | null;
  /** Oldest first. */
  readonly moments: readonly Moment[];
  /** When the present session began, ms since 1970; null while nothing is known. */
  readonly began: number | null;
  /** False while the session may have begun earlier than what was loaded. */
  readonly isWhole: boolean;
}

export const emptyCourse: Course = { epoch: null, moments: [], began: null, isWhole: false };

/** A pause that ends a session in the model, too. */
export const sessionGapMs = 30 * 60_000;
/** What the small line shows. */
export const lineMs = 20 * 60_000;

/** Take in older entries, oldest first; `isFirst` when there are none before them. */
export function withPast(
  course: Course,
  epoch: string,
  entries: readonly Brief[],
  isFirst: boolean,
): Course {
  const base = course.epoch === null || course.epoch === epoch ? course : emptyCourse;
  const known = base.moments[0]?.revision ?? Infinity;
  const older = entries
    .filter(({ revision }) => revision < known)
    .map(({ revision, occurred_at, accuracy }) => ({
      revision,
      at: Date.parse(occurred_at),
      accuracy,
    }));
  const moments = [...older, ...base.moments];
  return { epoch, moments, ...sessionOf(moments, isFirst) };
}

/** Take in what a newer state tells. */
export function withView(course: Course, view: LearnerView | undefined): Course {
  const accuracy = view?.details.performance?.accuracy;
  const at = Date.parse(view?.update?.occurred_at ?? "");
  if (view?.revision == null || accuracy === undefined || Number.isNaN(at)) return course;
  const base = course.epoch === null || course.epoch === view.epoch ? course : emptyCourse;
  if (view.revision <= (base.moments.at(-1)?.revision ?? 0)) return course;
  const moments = [...base.moments, { revision: view.revision, at, accuracy }];
  return { epoch: view.epoch, moments, ...sessionOf(moments, base.isWhole) };
}

/** Since when, by going back to the last long pause. */
function sessionOf(
  moments: readonly Moment[],
  isWhole: boolean,
): Pick<Course, "began" | "isWhole"> {
  let first = moments.length - 1;
  while (first > 0 && moments[first]!.at - moments[first - 1]!.at <= sessionGapMs) first -= 1;
  return { began: moments[first]?.at ?? null, isWhole: isWhole || first > 0 };
}

/** The points of the small line within its width of 100 and height of 20; now is at the right. */
export function lineOf(
  { moments }: Course,
  now: number,
): readonly (readonly [x: number, y: number])[] {
  return moments
    .filter(({ at }) => at > now - lineMs)
    .map(({ at, accuracy }) => [
      100 - (Math.max(0, now - at) / lineMs) * 100,
      20 - Math.min(1, Math.max(0, accuracy)) * 20,
    ]);
}

/** For how long: `4 min`, `1 h 5 min`; `over` where it may be longer. */
export function spentInWords({ began, isWhole }: Course, at: number | null): string | null {
  if (began === null || at === null) return null;
  const minutes = Math.floor(Math.max(0, at - began) / 60_000);
  if (minutes < 1) return isWhole ? "just begun" : null;
  const words =
    minutes < 60 ? `${minutes} min` : `${Math.floor(minutes / 60)} h ${minutes % 60} min`;
  return isWhole ? words : `over ${words}`;
}

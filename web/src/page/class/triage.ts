/** Who needs help first: sorts a class into a few calm groups by the server's own urgency. Pure. */

import type { LearnerView } from "@aivo/realtime";
import { levels, toneOf } from "@aivo/realtime/react";
import { occurredAt, type Learner } from "../frame/hooks";
import { nameOfId } from "../parts/words";

/** In the order in which they are shown. */
export const groups = ["now", "soon", "fine", "away", "new"] as const;
export type Group = (typeof groups)[number];

/** What a group is called. */
export const groupNames: Readonly<Record<Group, string>> = {
  now: "Needs help now",
  soon: "Worth a look",
  fine: "Working well",
  away: "Not working at the moment",
  new: "Nothing recorded yet",
};

/** A learner in the class, with what puts them where they are. */
export interface Place {
  readonly learner: Learner;
  readonly view: LearnerView | undefined;
  readonly group: Group;
  /** ms since 1970; null when never. */
  readonly at: number | null;
}

/** A gap after which the model, too, begins a new session: advice from before it is not for now. */
export const awayMs = 30 * 60_000;

/**
 * Where a learner belongs: as urgent as the first advice, and worth a look wherever a level stands
 * out.
 */
export function groupOf(view: LearnerView | undefined, now: number): Group {
  if (!view?.state) return "new";
  const { state } = view;
  if (now - (occurredAt(view) ?? 0) > awayMs) return "away";
  switch (view.details.actions?.[0]?.urgency) {
    case "high":
      return "now";
    case "medium":
      return "soon";
    default:
      return levels.some((level) => toneOf(level, state[level.key]) === "alert") ? "soon" : "fine";
  }
}

/** The class in groups; by name within each, so that nobody jumps about with every answer. */
export function triage(
  learners: readonly Learner[],
  views: readonly (LearnerView | undefined)[],
  now: number,
): ReadonlyMap<Group, readonly Place[]> {
  const places = learners.map((learner, i) => ({
    learner,
    view: views[i],
    group: groupOf(views[i], now),
    at: occurredAt(views[i]),
  }));
  places.sort((a, b) => nameOf(a.learner).localeCompare(nameOf(b.learner)));
  return new Map(groups.map((group) => [group, places.filter((place) => place.group === group)]));
}

/** How a class is doing, in a sentence: so many need help now, and so many are worth a look. */
export function headline(now: number, soon: number): string {
  const look = soon === 1 ? "is worth a look" : "are worth a look";
  if (now === 0)
    return soon === 0
      ? "Nobody needs help right now."
      : `${soon === 1 ? "One learner" : `${soon} learners`} ${look}.`;
  const help = now === 1 ? "One learner needs help now" : `${now} learners need help now`;
  return soon === 0 ? `${help}.` : `${help}; ${soon === 1 ? "one" : soon} ${look}.`;
}

/** The classes of some learners, by name. */
export function classesOf(
  learners: readonly Learner[],
): readonly { readonly id: string; readonly name: string }[] {
  const names = new Map(
    learners.flatMap(({ class_ids, class_names }) =>
      class_ids.map((id) => [id, class_names[id] ?? nameOfId(id)]),
    ),
  );
  return [...names]
    .map(([id, name]) => ({ id, name }))
    .sort((a, b) => a.name.localeCompare(b.name, undefined, { numeric: true }));
}

/** What a learner is called. */
export function nameOf({ display_name, learner_id }: Learner): string {
  return display_name || learner_id;
}

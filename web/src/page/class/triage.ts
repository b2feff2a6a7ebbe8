/** Who needs help first, by the server's own judgement. Pure. */

import type { LearnerView } from "@aivo/realtime";
import { occurredAt, type Learner } from "../frame/hooks";
import { nameOfId } from "../parts/words";

/** In the order in which they are shown. */
export const groups = ["now", "look", "fine", "away", "new"] as const;
export type Group = (typeof groups)[number];

/** What a group is called. */
export const groupNames: Readonly<Record<Group, string>> = {
  now: "Needs help now",
  look: "Worth a look",
  fine: "Working well",
  away: "Not working at the moment",
  new: "Nothing recorded yet",
};

/** A learner in the class, with what puts them where they are. */
export interface Place {
  readonly learner: Learner;
  readonly view: LearnerView | undefined;
  readonly group: Group;
  /** One sentence: why attention is asked for or not, else what could be done. Empty for none. */
  readonly reason: string;
  /** ms since 1970; null when never. */
  readonly at: number | null;
}

/** A gap after which the model, too, begins a new session: advice from before it is not for now. */
export const awayMs = 30 * 60_000;

/** Where a learner belongs. A server that does not judge yet is taken by its first advice. */
export function groupOf(view: LearnerView | undefined, now: number): Group {
  if (!view?.state) return "new";
  if (now - (occurredAt(view) ?? 0) > awayMs) return "away";
  const attention = view.details.meaning?.attention.level;
  if (attention) return attention === "none" ? "fine" : attention;
  const { urgency } = view.details.actions?.[0] ?? {};
  return urgency === "high" ? "now" : urgency === "medium" ? "look" : "fine";
}

function placeOf(learner: Learner, view: LearnerView | undefined, now: number): Place {
  const group = groupOf(view, now);
  const { meaning, actions, recommendations } = view?.details ?? {};
  // That all is well needs no words: thirty lines of them would hide the one that matters.
  const isCalm = group === "away" || group === "new" || actions?.[0]?.urgency === "none";
  // Who is fine may have one, too: much is worse than usual, and yet nobody is called.
  const asked = group === "away" || group === "new" ? "" : meaning?.attention.reason;
  const reason = asked || (isCalm ? "" : recommendations?.[0]) || "";
  return { learner, view, group, reason, at: occurredAt(view) };
}

/**
 * The class, who needs help first: in groups, within the first two whoever waits longest, within
 * the others by name.
 */
export function triage(
  learners: readonly Learner[],
  views: readonly (LearnerView | undefined)[],
  now: number,
): readonly Place[] {
  const since = ({ group, view }: Place) =>
    group === "now" || group === "look" ? (view?.details.meaning?.attention.since ?? "") : "";
  return learners
    .map((learner, i) => placeOf(learner, views[i], now))
    .sort(
      (a, b) =>
        groups.indexOf(a.group) - groups.indexOf(b.group) ||
        since(a).localeCompare(since(b)) ||
        byName(a.learner, b.learner),
    );
}

/** The same places, those of before where nothing about them changed: their rows stay undrawn. */
export function keptFrom(before: readonly Place[], places: readonly Place[]): readonly Place[] {
  const old = new Map(before.map((place) => [place.learner.learner_id, place]));
  return places.map((place) => {
    const known = old.get(place.learner.learner_id);
    const isSame =
      known?.learner === place.learner &&
      known.view === place.view &&
      known.group === place.group &&
      known.reason === place.reason;
    return isSame ? known : place;
  });
}

const byName = (a: Learner, b: Learner) =>
  nameOf(a).localeCompare(nameOf(b), undefined, { numeric: true });

/** How a class is doing, in a sentence: so many need help now, and so many are worth a look. */
export function headline(now: number, look: number): string {
  const eye = look === 1 ? "is worth a look" : "are worth a look";
  if (now === 0)
    return look === 0
      ? "Nobody needs help right now."
      : `${look === 1 ? "One learner" : `${look} learners`} ${eye}.`;
  const help = now === 1 ? "One learner needs help now" : `${now} learners need help now`;
  return look === 0 ? `${help}.` : `${help}; ${look === 1 ? "one" : look} ${eye}.`;
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

/** Those whose name has every word that was typed, wherever it stands; accents don't matter. */
export function named(learners: readonly Learner[], typed: string): readonly Learner[] {
  const words = plain(typed).split(/\s+/).filter(Boolean);
  if (words.length === 0) return learners;
  return learners.filter((learner) => {
    const name = plain(nameOf(learner));
    return words.every((word) => name.includes(word));
  });
}

function plain(text: string): string {
  return text.normalize("NFD").replace(/\p{M}/gu, "").toLowerCase().trim();
}

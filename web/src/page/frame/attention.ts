/** Who has begun to need help, each told once: the rules, without any drawing or sound. Pure. */

import type { LearnerView } from "@aivo/realtime";

/** A time in which a learner needed help, as far as this person has been told of it. */
export interface Episode {
  /** When the server says it began. */
  readonly since: string;
  /** When it was last seen, ms since 1970. */
  readonly seen: number;
  readonly isAcknowledged: boolean;
}

/** The last episode of each learner. */
export type Episodes = Readonly<Record<string, Episode>>;

/** Help that is needed again so soon is the same need. */
export const sameWithinMs = 5 * 60_000;
/** What began earlier, before the page was opened, is seen in the list and needs no notice. */
export const newsMs = 2 * 60_000;
/** Older episodes are forgotten. */
const keptMs = 24 * 3_600_000;

/** One learner, and whether they need help now. */
export interface Sight {
  readonly id: string;
  readonly since: string;
  readonly reason: string;
}

/** Those who need help, of those who are here. */
export function sightsOf(views: readonly (LearnerView | undefined)[]): readonly Sight[] {
  return views.flatMap((view) => {
    const attention = view?.details.meaning?.attention;
    return view && attention?.level === "now"
      ? [{ id: view.learnerId, since: attention.since, reason: attention.reason }]
      : [];
  });
}

/**
 * What has become of the episodes, and whose are new. The same object when nothing has changed but
 * the time.
 */
export function listen(
  old: Episodes,
  sights: readonly Sight[],
  now: number,
  openedAt: number,
): { readonly episodes: Episodes; readonly begun: readonly string[] } {
  const begun: string[] = [];
  const episodes: Record<string, Episode> = {};
  for (const [id, episode] of Object.entries(old))
    if (now - episode.seen < keptMs) episodes[id] = episode;
  for (const { id, since } of sights) {
    const last = episodes[id];
    if (last && (last.since === since || now - last.seen < sameWithinMs)) {
      // Seen is noted coarsely: every note is written to the device.
      if (last.since !== since || now - last.seen > sameWithinMs / 5)
        episodes[id] = { ...last, since, seen: now };
      continue;
    }
    const isNews = Date.parse(since) > openedAt - newsMs;
    episodes[id] = { since, seen: now, isAcknowledged: !isNews };
    if (isNews) begun.push(id);
  }
  return { episodes: same(old, episodes) ? old : episodes, begun };
}

/** Those to show: who needs help now and was not acknowledged, longest first. */
export function open(episodes: Episodes, sights: readonly Sight[]): readonly Sight[] {
  return sights
    .filter(({ id }) => episodes[id]?.isAcknowledged === false)
    .sort((a, b) => a.since.localeCompare(b.since));
}

/** After somebody has said that they know. */
export function acknowledged(old: Episodes, ids: readonly string[]): Episodes {
  const known = ids.flatMap((id) =>
    old[id] ? [[id, { ...old[id], isAcknowledged: true }] as const] : [],
  );
  return { ...old, ...Object.fromEntries(known) };
}

/** What was kept; nothing where it cannot be read. */
export function readEpisodes(text: string | null): Episodes {
  try {
    const value: unknown = JSON.parse(text ?? "{}");
    if (typeof value !== "object" || value === null) return {};
    return Object.fromEntries(
      Object.entries(value).filter(
        (entry): entry is [string, Episode] =>
          typeof entry[1]?.since === "string" && typeof entry[1]?.seen === "number",
      ),
    );
  } catch {
    return {};
  }
}

function same(a: Episodes, b: Episodes): boolean {
  const keys = Object.keys(b);
  return keys.length === Object.keys(a).length && keys.every((key) => a[key] === b[key]);
}

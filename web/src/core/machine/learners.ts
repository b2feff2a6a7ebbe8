/** What is shown of each learner, and the one rule about it: never older than before. */

import type {
  CognitiveState,
  Assessment,
  StateUpdateFrame,
  SubscribedFrame,
  VirtualBrainResponseFrame,
} from "../frames";
import { withEntry, type Step } from "./step";
import type { LearnerView } from "./types";
import { changeWish, wishOf } from "./wishes";

/** What a frame tells about a learner's state, whichever frame it is. */
interface Told {
  readonly learner_id: string;
  readonly state?: CognitiveState | null | undefined;
  readonly epoch?: string | undefined;
  readonly revision?: number | undefined;
  readonly timestamp: string;
  readonly coalesced?: number | undefined;
  readonly crossings?: readonly unknown[] | undefined;
}

const detailFields = [
  "performance",
  "mastery",
  "recommendations",
  "actions",
  "drivers",
  "meaning",
  "explanations",
  "confidence",
  "uncertainty",
  "grades",
  "model_version",
] as const satisfies readonly (keyof Assessment)[];

const ofOneRevision = ["drivers", "meaning", "explanations"] as const;

/** Show what a frame tells unless something newer is shown already. */
export function show(step: Step, told: Told, source: Assessment): void {
  const id = told.learner_id;
  const shown = step.state.learners.get(id);
  const newHistory = shown?.epoch && told.epoch && told.epoch !== shown.epoch;
  const old = newHistory ? undefined : shown;
  const known = old?.revision ?? -1;
  const revision = told.revision ?? known;
  if (revision < known) return;
  const newer = told.state && (revision > known || told.revision === undefined || !old?.state);
  const update: StateUpdateFrame | null = newer
    ? { ...(told as StateUpdateFrame), type: "state_update" }
    : (old?.update ?? null);
  const view: LearnerView = {
    learnerId: id,
    state: told.state ?? old?.state ?? null,
    epoch: told.epoch ?? old?.epoch ?? null,
    revision: revision < 0 ? null : revision,
    updatedAt: update && Date.parse(update.timestamp),
    update,
    ...mergeDetails(old, source, revision),
  };
  step.set({ learners: withEntry(step.state.learners, id, view) });
  if (newer) step.notify({ kind: "state", update: update! });
}

/**
 * Details come with some frames only: keep the newest of each, except those that explain one
 * revision.
 */
function mergeDetails(
  old: LearnerView | undefined,
  source: Assessment,
  revision: number,
): Pick<LearnerView, "details" | "detailsRevision"> {
  const details: Record<string, unknown> = { ...old?.details };
  let detailsRevision = old?.detailsRevision ?? null;
  if (revision !== old?.revision) for (const field of ofOneRevision) delete details[field];
  for (const field of detailFields) {
    if (source[field] === undefined) continue;
    // A response names only the skill it touched.
    details[field] =
      field === "mastery" ? { ...old?.details.mastery, ...source.mastery } : source[field];
    detailsRevision = revision;
  }
  return { details, detailsRevision };
}

/**
 * A pushed update. In `every` mode a hole means something was lost: ask again from where we are
 * instead of skipping it.
 */
export function onUpdate(step: Step, frame: StateUpdateFrame): void {
  const view = step.state.learners.get(frame.learner_id);
  const subscription = wishOf(step, "learner", frame.learner_id);
  const comparable = view?.revision != null && view.epoch === (frame.epoch ?? view.epoch);
  if (comparable && frame.revision! > view.revision! + 1 + (frame.coalesced ?? 0)) {
    noteGap(step);
    if (subscription?.mode === "every" && subscription.status === "active" && !frame.coalesced) {
      return changeWish(step, subscription, { status: "pending", notBefore: 0 });
    }
  }
  step.set({ lagMs: Math.max(0, step.now + step.state.skewMs - Date.parse(frame.timestamp)) || 0 });
  show(step, frame, frame);
}

export function onSubscribed(step: Step, frame: SubscribedFrame): void {
  const { learner_id } = frame;
  const subscription = wishOf(step, "learner", learner_id);
  if (!subscription) return;
  const refused = frame.success === false;
  changeWish(step, subscription, { status: refused ? "refused" : "active", askedAs: null });
  if (refused) return;
  const view = step.state.learners.get(learner_id);
  if (view?.revision != null && frame.recovered === false) noteGap(step);
  if (Array.isArray(frame.missed))
    for (const update of frame.missed as StateUpdateFrame[])
      show(step, { ...update, learner_id }, update);
  // The missed updates are on their way; showing the newest first would make each of them too old
  // to show.
  else if (
    frame.recovered &&
    subscription.mode === "every" &&
    frame.missed &&
    view?.revision != null
  )
    return;
  show(step, frame, frame);
}

export function onResponse(
  step: Step,
  { learner_id, result, ...frame }: VirtualBrainResponseFrame,
): void {
  // A repeated interaction is answered with the outcome it had then, which may be old; the rule of
  // `show` covers it.
  if (result.state || step.state.learners.has(learner_id))
    show(step, { ...frame, learner_id, state: result.state }, result);
}

/** Something is missing between what was shown and what came. */
function noteGap(step: Step): void {
  step.set({ gaps: [...step.state.gaps.filter((at) => step.now - at < 60_000), step.now] });
}

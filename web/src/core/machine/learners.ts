/** What is shown of each learner, and the one rule about it: never older than before. */

import type { CognitiveState, ModelDetails, StateUpdateFrame, SubscribedFrame, VirtualBrainResponseFrame } from "../frames";
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
  "performance", "mastery", "recommendations", "actions", "drivers", "confidence", "uncertainty", "grades", "model_version",
] as const satisfies readonly (keyof ModelDetails)[];

/** Show what a frame tells unless something newer is shown already. */
export function show(step: Step, told: Told, source: ModelDetails): void {
  const old = step.state.learners.get(told.learner_id);
  const newHistory = old?.epoch != null && told.epoch !== undefined && told.epoch !== old.epoch;
  const known = newHistory ? null : (old?.revision ?? null);
  const revision = told.revision ?? null;
  if (known !== null && revision !== null && revision < known) return;
  const newer = told.state != null && (known === null || revision === null || revision > known || old?.state == null);

  const view: LearnerView = {
    learnerId: told.learner_id,
    state: told.state ?? (newHistory ? null : (old?.state ?? null)),
    epoch: told.epoch ?? old?.epoch ?? null,
    revision: revision ?? known,
    updatedAt: newer ? Date.parse(told.timestamp) : (old?.updatedAt ?? null),
    receivedAt: step.now,
    coalesced: newer ? (told.coalesced ?? 0) : (old?.coalesced ?? 0),
    crossings: newer ? (told.crossings ?? []) : (old?.crossings ?? []),
    ...mergeDetails(newHistory ? undefined : old, source, revision, newer),
  };
  step.set({ learners: withEntry(step.state.learners, told.learner_id, view) });
  if (!newer) return;
  step.notify({ kind: "state", update: asUpdate(told, view) });
}

/** Details come with some frames only: keep the newest of each, except drivers, which explain one revision. */
function mergeDetails(
  old: LearnerView | undefined, source: ModelDetails, revision: number | null, newer: boolean,
): Pick<LearnerView, "details" | "detailsRevision"> {
  const told: Record<string, unknown> = {};
  for (const field of detailFields) if (source[field] !== undefined) told[field] = source[field];
  const { drivers, ...kept } = old?.details ?? {};
  const base = newer || drivers === undefined ? kept : { ...kept, drivers };
  if (Object.keys(told).length === 0) return { details: base, detailsRevision: old?.detailsRevision ?? null };
  // A response names only the skill it touched.
  const mastery = source.mastery && { mastery: { ...kept.mastery, ...source.mastery } };
  return { details: { ...base, ...told, ...mastery }, detailsRevision: revision };
}

function asUpdate(told: Told, view: LearnerView): StateUpdateFrame {
  if ("type" in told && told.type === "state_update") return told as StateUpdateFrame;
  const update: StateUpdateFrame = {
    type: "state_update", learner_id: told.learner_id, state: view.state!, timestamp: told.timestamp, coalesced: 0,
  };
  if (view.epoch !== null) update.epoch = view.epoch;
  if (view.revision !== null) update.revision = view.revision;
  return update;
}

/** A pushed update. In `every` mode a hole means something was lost: ask again from where we are instead of skipping it. */
export function onUpdate(step: Step, frame: StateUpdateFrame): void {
  const view = step.state.learners.get(frame.learner_id);
  const subscription = wishOf(step, "learner", frame.learner_id);
  const expected = view?.revision != null && view.epoch === (frame.epoch ?? view.epoch) ? view.revision + 1 : null;
  const skipped = expected !== null && frame.revision !== undefined ? frame.revision - expected : 0;
  if (skipped > (frame.coalesced ?? 0)) {
    noteGap(step);
    if (subscription?.mode === "every" && subscription.status === "active" && !frame.coalesced) {
      return changeWish(step, subscription, { status: "pending", notBefore: 0 });
    }
  }
  const sent = Date.parse(frame.timestamp);
  if (!Number.isNaN(sent)) step.set({ lagMs: Math.max(0, step.now + step.state.clockOffsetMs - sent) });
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
  if (Array.isArray(frame.missed)) for (const update of frame.missed as StateUpdateFrame[]) show(step, { ...update, learner_id }, update);
  // The missed updates are on their way; showing the newest first would make each of them too old to show.
  else if (frame.recovered && subscription.mode === "every" && frame.missed && view?.revision != null) return;
  show(step, frame, frame);
}

export function onResponse(step: Step, { learner_id, result, ...frame }: VirtualBrainResponseFrame): void {
  // A repeated interaction is answered with the outcome it had then, which may be old; the rule of `show` covers it.
  const told = { learner_id, state: result.state, epoch: frame.epoch, revision: frame.revision, timestamp: frame.timestamp };
  if (result.state || step.state.learners.has(learner_id)) show(step, told, result);
}

/** Something is missing between what was shown and what came. */
function noteGap(step: Step): void {
  step.set({ gaps: [...step.state.gaps.filter((at) => step.now - at < 60_000), step.now] });
}

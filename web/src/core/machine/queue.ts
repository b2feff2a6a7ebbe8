/**
 * The offline queue: every interaction waits here from the moment it is given until the server
 * acknowledged or refused it. It leaves the store only then, and is always sent under the same
 * `interaction_id`, so nothing is lost or counted twice.
 */

import { RealtimeError, type ClientErrorCode } from "../../codes";
import type { ErrorFrame, InteractFrame, VirtualBrainResponseFrame } from "../frames";
import type { Step } from "./step";
import type { QueuedInteraction } from "./types";

/** Take an interaction in; it is stored before it is sent, once it is known whose it is. */
export function enqueue(step: Step, { item }: { item: QueuedInteraction }): void {
  const { queue, user } = step.state;
  if (queue.some((other) => idOf(other) === idOf(item))) return;
  if (queue.length >= step.config.queueMaxItems) return fail(step, item, "queue_full");
  const owned = { ...item, user };
  step.set({ queue: [...queue, owned] });
  step.do({ do: "save", item: owned });
}

/** The server committed it. */
export function onAcknowledged(step: Step, frame: VirtualBrainResponseFrame): void {
  const item = take(step, frame.interaction_id ?? frame.id);
  if (item) step.notify({ kind: "acknowledged", id: idOf(item), response: frame });
}

/**
 * The server refused it: for now (it stays, and is sent again) or for good (it goes, and the
 * application hears why). Whether it was ours.
 */
export function onRefused(step: Step, frame: ErrorFrame, error: RealtimeError): boolean {
  const item = step.state.queue.find((other) => idOf(other) === frame.id);
  if (!item) return false;
  if (error.retryable || frame.code === "unauthenticated") {
    step.set({
      queue: step.state.queue.map((other) => (other === item ? { ...other, sentAt: null } : other)),
    });
    pauseQueue(step, frame.retry_after_ms ?? step.backoff(2));
  } else {
    fail(step, item, error);
  }
  return true;
}

/** Hold interactions back for a while. */
export function pauseQueue(step: Step, ms: number): void {
  step.set({ pausedUntil: Math.max(step.state.pausedUntil, step.now + ms) });
}

/**
 * Add what an earlier page left behind. Items of this page stay first in line only if they are
 * older.
 */
export function onLoaded(
  step: Step,
  { user, items }: { user: string; items: readonly QueuedInteraction[] },
): void {
  if (user !== step.state.user) return;
  const known = new Set(step.state.queue.map(idOf));
  const fresh = items.filter((item) => !known.has(idOf(item)));
  if (fresh.length) step.set({ queue: [...step.state.queue, ...fresh].sort(byAge) });
}

/** Oldest first; ids of one millisecond grow. */
function byAge(a: QueuedInteraction, b: QueuedInteraction): number {
  return a.queuedAt - b.queuedAt || (idOf(a) < idOf(b) ? -1 : 1);
}

/** Give up everything that waits, at the application's wish. */
export function clearQueue(step: Step): void {
  for (const item of step.state.queue) fail(step, item, "cleared");
}

/**
 * It is known who is logged in. Interactions given before belong to them; those of somebody else
 * stay in the store for that person and are not sent in this one's name, nor is anything shown
 * that the other one watched.
 */
export function adoptUser(step: Step, user: string | null): void {
  const { state } = step;
  if (user === null || user === state.user) return;
  const queue = state.queue.filter((item) => item.user === null).map((item) => ({ ...item, user }));
  step.set({ user, queue, learners: state.user === null ? state.learners : new Map() });
  for (const item of queue) step.do({ do: "save", item });
  step.do({ do: "load", user });
}

/**
 * After "frame too big" the largest on the wire is the culprit; sending it again would only close
 * the next connection.
 */
export function failOversized(step: Step): void {
  const size = ({ data, sentAt }: QueuedInteraction) =>
    sentAt === null ? 0 : JSON.stringify(data).length;
  const [worst] = [...step.state.queue].sort((a, b) => size(b) - size(a));
  if (worst?.sentAt) fail(step, worst, "too_big");
}

/** Drop what has become too old for the server to accept. */
export function expire(step: Step): void {
  const oldest = step.now - step.config.queueMaxAgeMs;
  for (const item of step.state.queue.filter(({ queuedAt }) => queuedAt < oldest))
    fail(step, item, "expired");
}

/** The frame for an item. One that waited says when it happened, by the server's clock. */
export function interactFrame(step: Step, { data, queuedAt }: QueuedInteraction): InteractFrame {
  const waited = step.now - queuedAt >= 1_000;
  const occurred_at =
    data.occurred_at ?? (waited ? new Date(queuedAt + step.state.skewMs).toISOString() : undefined);
  return {
    type: "virtual_brain_interact",
    id: data.interaction_id,
    data: { ...data, occurred_at },
  };
}

export function idOf(item: QueuedInteraction): string {
  return item.data.interaction_id;
}

function fail(step: Step, item: QueuedInteraction, why: ClientErrorCode | RealtimeError): void {
  take(step, idOf(item));
  const error = typeof why === "string" ? new RealtimeError(why, false, idOf(item)) : why;
  step.notify({ kind: "failed", id: idOf(item), error });
}

function take(step: Step, id: string | undefined): QueuedInteraction | undefined {
  const item = step.state.queue.find((other) => idOf(other) === id);
  if (!item) return undefined;
  step.set({ queue: step.state.queue.filter((other) => other !== item) });
  step.do({ do: "remove", item });
  return item;
}

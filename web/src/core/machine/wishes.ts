/**
 * What the application wants from the server – subscriptions, rooms, interactions delivered –
 * and the pump that brings the server's side in line with it, at a pace the server accepts.
 */

import type { RealtimeError } from "../../codes";
import type { ErrorFrame } from "../frames";
import { expire, interactFrame } from "./queue";
import { withEntry, type Step } from "./step";
import type { SubscribeOptions, Wish } from "./types";

type Want = Pick<Wish, "kind" | "key"> & { readonly options?: SubscribeOptions };

const wishId = (kind: Wish["kind"], key: string) => `${kind} ${key}`;

export function wishOf(
  { state }: Pick<Step, "state">,
  kind: Wish["kind"],
  key: string,
): Wish | undefined {
  return state.wishes.get(wishId(kind, key));
}

export function changeWish(step: Step, wish: Wish, patch: Partial<Wish>): void {
  step.set({
    wishes: withEntry(step.state.wishes, wishId(wish.kind, wish.key), { ...wish, ...patch }),
  });
}

/**
 * One more part of the application wants this. Asked again when it is wanted in another way, or was
 * refused before.
 */
export function want(step: Step, { kind, key, options = {} }: Want): void {
  const old = wishOf(step, kind, key);
  const { mode = old?.mode ?? "latest", minIntervalMs = old?.minIntervalMs ?? 0 } = options;
  const same =
    old && old.mode === mode && old.minIntervalMs === minIntervalMs && old.status !== "refused";
  const fresh: Wish = {
    kind,
    key,
    mode,
    minIntervalMs,
    wanted: 0,
    status: "pending",
    askedAs: null,
    askedAt: 0,
    notBefore: 0,
  };
  changeWish(step, same ? old : fresh, { wanted: (old?.wanted ?? 0) + 1 });
}

export function unwant(step: Step, { kind, key }: Want): void {
  const old = wishOf(step, kind, key);
  if (!old?.wanted) return;
  changeWish(step, old, { wanted: old.wanted - 1 });
  if (old.wanted === 1) step.after("release", step.config.lingerMs);
}

/** Let go of what nobody has wanted for a while. */
export function release(step: Step): void {
  for (const [id, { kind, key, wanted, status }] of step.state.wishes) {
    if (wanted > 0) continue;
    if (status === "active" || status === "asked") {
      const request = step.nextId("u");
      if (kind === "learner")
        step.send({ type: "unsubscribe_learner", learner_id: key, id: request });
      else step.send({ type: "leave_room", room_id: key, id: request });
    }
    step.set({ wishes: withEntry(step.state.wishes, id, null) });
    forgetShown(step, kind, key);
  }
}

/** What is not ours to see any more is not shown any more. */
export function forgetShown(step: Step, kind: Wish["kind"], key: string): void {
  if (kind === "learner") step.set({ learners: withEntry(step.state.learners, key, null) });
  else step.set({ rooms: withEntry(step.state.rooms, key, null) });
}

/** An error answers a wish: ask again later, or not at all. Whether it was one of ours. */
export function onWishRefused(step: Step, frame: ErrorFrame, error: RealtimeError): boolean {
  const wish = [...step.state.wishes.values()].find(({ askedAs }) => askedAs === (frame.id ?? ""));
  if (wish) endWish(step, wish, error.retryable, frame.retry_after_ms);
  return wish !== undefined;
}

/** The server does not grant a wish, or not any more. */
export function endWish(step: Step, wish: Wish, retry: boolean, afterMs?: number | null): void {
  const notBefore = step.now + (afterMs ?? step.backoff(2));
  changeWish(step, wish, { status: retry ? "pending" : "refused", askedAs: null, notBefore });
  if (!retry) forgetShown(step, wish.kind, wish.key);
}

/**
 * Send whatever is wanted and not yet sent, within the frame budget; come back later for the
 * rest. What got no answer in time counts as not sent: every one of these requests may be
 * repeated without harm.
 */
export function pump(step: Step): void {
  if (step.state.phase !== "open") return;
  refill(step);
  expire(step);
  const soonest = Math.min(askForWishes(step), sendQueue(step));
  if (soonest < Infinity) step.after("pump", Math.max(soonest, 1000 / step.config.framesPerSecond));
}

/** Ask for every wish that is due. Returns the milliseconds after which more can be done. */
function askForWishes(step: Step): number {
  let soonest = Infinity;
  for (const wish of step.state.wishes.values()) {
    if ((wish.status !== "pending" && wish.status !== "asked") || wish.wanted === 0) continue;
    const due =
      wish.status === "asked" ? wish.askedAt + step.config.answerTimeoutMs : wish.notBefore;
    if (due > step.now) soonest = Math.min(soonest, due - step.now);
    else if (step.state.budget < 1) return 0;
    else {
      const askedAs = step.nextId("w");
      if (wish.kind === "learner") askLearner(step, wish, askedAs);
      else step.send({ type: "join_room", room_id: wish.key, id: askedAs });
      changeWish(step, wish, { status: "asked", askedAs, askedAt: step.now });
      soonest = Math.min(soonest, step.config.answerTimeoutMs);
    }
  }
  return soonest;
}

function askLearner(step: Step, { key, mode, minIntervalMs }: Wish, id: string): void {
  const { epoch, revision } = step.state.learners.get(key) ?? {};
  const resume = epoch != null && revision != null ? { epoch, revision } : undefined;
  step.send({
    type: "subscribe_learner",
    learner_id: key,
    id,
    resume,
    mode: mode === "latest" ? undefined : mode,
    min_interval_ms: minIntervalMs || undefined,
  });
}

/**
 * Send waiting interactions, oldest first. Returns the milliseconds after which more can be done.
 */
function sendQueue(step: Step): number {
  const { queue, pausedUntil, budget } = step.state;
  if (queue.length === 0) return Infinity;
  const { answerTimeoutMs, maxInFlight } = step.config;
  const waiting = queue.filter(
    ({ sentAt }) => sentAt === null || sentAt + answerTimeoutMs <= step.now,
  );
  if (waiting.length && pausedUntil > step.now) return pausedUntil - step.now;
  const room = Math.floor(Math.min(maxInFlight - (queue.length - waiting.length), budget));
  const sending = new Set(waiting.slice(0, Math.max(0, room)));
  for (const item of sending) step.send(interactFrame(step, item));
  if (sending.size)
    step.set({
      queue: queue.map((item) => (sending.has(item) ? { ...item, sentAt: step.now } : item)),
    });
  // With the wire full, the next acknowledgement pumps again; an empty budget needs a timer, and so
  // do answers that fail to come.
  if (waiting.length > sending.size && step.state.budget < 1) return 0;
  return Math.min(
    ...step.state.queue.map(({ sentAt }) => (sentAt ?? Infinity) + answerTimeoutMs - step.now),
  );
}

function refill(step: Step): void {
  const { budget, budgetAt } = step.state;
  const earned = (Math.max(0, step.now - budgetAt) / 1000) * step.config.framesPerSecond;
  step.set({ budget: Math.min(step.config.burst, budget + earned), budgetAt: step.now });
}

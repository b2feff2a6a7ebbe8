/**
 * What the application wants from the server – subscriptions, rooms, interactions delivered – and the pump that brings the
 * server's side in line with it, at a pace the server accepts.
 */

import type { RealtimeError } from "../../codes";
import type { ErrorFrame, SubscribeLearnerFrame } from "../frames";
import { expire, idOf, interactFrame } from "./queue";
import { withEntry, type Step } from "./step";
import type { Room, State, SubscribeOptions, Subscription, Wish } from "./types";

const newWish: Wish = { wanted: 0, status: "pending", askedAs: null, askedAt: 0, notBefore: 0 };

export function subscribe(step: Step, learnerId: string, options: SubscribeOptions): void {
  const old = step.state.subscriptions.get(learnerId);
  const mode = options.mode ?? old?.mode ?? "latest";
  const minIntervalMs = options.minIntervalMs ?? old?.minIntervalMs ?? 0;
  const same = old && old.mode === mode && old.minIntervalMs === minIntervalMs && old.status !== "refused";
  const base = same ? old : { ...newWish, wanted: old?.wanted ?? 0 };
  setSubscription(step, learnerId, { ...base, mode, minIntervalMs, wanted: base.wanted + 1 });
  pump(step);
}

export function unsubscribe(step: Step, learnerId: string): void {
  const old = step.state.subscriptions.get(learnerId);
  if (!old || old.wanted === 0) return;
  setSubscription(step, learnerId, { ...old, wanted: old.wanted - 1 });
  if (old.wanted === 1) step.after("release", step.config.lingerMs);
}

export function join(step: Step, roomId: string): void {
  const old = step.state.rooms.get(roomId) ?? { ...newWish, members: [] };
  const base = old.status === "refused" ? { ...old, status: "pending" as const } : old;
  setRoom(step, roomId, { ...base, wanted: old.wanted + 1 });
  pump(step);
}

export function leave(step: Step, roomId: string): void {
  const old = step.state.rooms.get(roomId);
  if (!old || old.wanted === 0) return;
  setRoom(step, roomId, { ...old, wanted: old.wanted - 1 });
  if (old.wanted === 1) step.after("release", step.config.lingerMs);
}

/** Let go of what nobody has wanted for a while. */
export function release(step: Step): void {
  const tell = (wish: Wish) => step.state.phase === "open" && (wish.status === "active" || wish.status === "asked");
  for (const [learner_id, wish] of step.state.subscriptions) {
    if (wish.wanted > 0) continue;
    if (tell(wish)) step.send({ type: "unsubscribe_learner", learner_id, id: step.nextId("u") });
    setSubscription(step, learner_id, null);
    step.set({ learners: withEntry(step.state.learners, learner_id, null) });
  }
  for (const [room_id, wish] of step.state.rooms) {
    if (wish.wanted > 0) continue;
    if (tell(wish)) step.send({ type: "leave_room", room_id, id: step.nextId("l") });
    setRoom(step, room_id, null);
  }
}

export function setSubscription(step: Step, learnerId: string, value: Subscription | null): void {
  step.set({ subscriptions: withEntry(step.state.subscriptions, learnerId, value) });
}

export function setRoom(step: Step, roomId: string, value: Room | null): void {
  step.set({ rooms: withEntry(step.state.rooms, roomId, value) });
}

/** An error answers a wish: ask again later, or not at all. Whether it was one of ours. */
export function onWishRefused(step: Step, frame: ErrorFrame, error: RealtimeError): boolean {
  const change = <W extends Wish>(wish: W): W =>
    error.retryable
      ? { ...wish, status: "pending", notBefore: step.now + (frame.retry_after_ms ?? step.backoff(2)) }
      : { ...wish, status: "refused" };
  for (const [id, wish] of step.state.subscriptions) {
    if (wish.askedAs === null || wish.askedAs !== frame.id) continue;
    setSubscription(step, id, change(wish));
    if (!error.retryable) step.set({ learners: withEntry(step.state.learners, id, null) });
    return true;
  }
  for (const [id, wish] of step.state.rooms) {
    if (wish.askedAs === null || wish.askedAs !== frame.id) continue;
    setRoom(step, id, change(wish));
    return true;
  }
  return false;
}

/** Send whatever is wanted and not yet sent, within the frame budget; come back later for the rest. */
export function pump(step: Step): void {
  if (step.state.phase !== "open") return;
  refill(step);
  expire(step);
  const delays = [askFor(step, "subscriptions", askLearner), askFor(step, "rooms", askRoom), sendQueue(step)];
  const soonest = Math.min(...delays);
  if (soonest < Infinity) step.after("pump", Math.max(soonest, 1000 / step.config.framesPerSecond));
  armLapse(step);
}

function askLearner(step: Step, learner_id: string, wish: Subscription, id: string): void {
  const seen = step.state.learners.get(learner_id);
  const frame: SubscribeLearnerFrame = { type: "subscribe_learner", learner_id, id };
  if (seen?.epoch != null && seen.revision !== null) frame.resume = { epoch: seen.epoch, revision: seen.revision };
  if (wish.mode !== "latest") frame.mode = wish.mode;
  if (wish.minIntervalMs > 0) frame.min_interval_ms = wish.minIntervalMs;
  step.send(frame);
}

function askRoom(step: Step, room_id: string, _wish: Room, id: string): void {
  step.send({ type: "join_room", room_id, id });
}

type Kind = { subscriptions: Subscription; rooms: Room };

/** Ask for every pending wish of a kind. Returns the milliseconds after which more can be done. */
function askFor<K extends keyof Kind>(
  step: Step, kind: K, ask: (step: Step, key: string, wish: Kind[K], id: string) => void,
): number {
  let soonest = Infinity;
  for (const [key, wish] of step.state[kind] as ReadonlyMap<string, Kind[K]>) {
    if (wish.status !== "pending" || wish.wanted === 0) continue;
    if (wish.notBefore > step.now) soonest = Math.min(soonest, wish.notBefore - step.now);
    else if (step.state.budget.frames < 1) return 0;
    else {
      const askedAs = step.nextId(kind[0]!);
      ask(step, key, wish, askedAs);
      const asked = { ...wish, status: "asked", askedAs, askedAt: step.now };
      step.set({ [kind]: withEntry(step.state[kind] as ReadonlyMap<string, Kind[K]>, key, asked) } as Partial<State>);
    }
  }
  return soonest;
}

/** Send waiting interactions, oldest first. Returns the milliseconds after which more can be done. */
function sendQueue(step: Step): number {
  const waiting = step.state.queue.filter((item) => item.sentAt === null);
  if (waiting.length === 0) return Infinity;
  if (step.state.queuePausedUntil > step.now) return step.state.queuePausedUntil - step.now;
  const inFlight = step.state.queue.length - waiting.length;
  const room = Math.min(step.config.maxInFlight - inFlight, Math.floor(step.state.budget.frames));
  const sending = new Set(waiting.slice(0, Math.max(0, room)).map(idOf));
  for (const item of waiting) if (sending.has(idOf(item))) step.send(interactFrame(step, item));
  step.set({
    queue: step.state.queue.map((item) => (sending.has(idOf(item)) ? { ...item, sentAt: step.now } : item)),
  });
  // With the wire full, the next acknowledgement pumps again; only an empty budget needs a timer.
  return waiting.length > sending.size && step.state.budget.frames < 1 ? 0 : Infinity;
}

function refill(step: Step): void {
  const { budget } = step.state;
  const earned = (Math.max(0, step.now - budget.at) / 1000) * step.config.framesPerSecond;
  step.set({ budget: { frames: Math.min(step.config.burst, budget.frames + earned), at: step.now } });
}

/** Requests that got no answer at all are asked again; every one of them may be repeated without harm. */
export function onLapse(step: Step): void {
  const late = step.now - step.config.answerTimeoutMs;
  const again = <W extends Wish>(wish: W): W =>
    wish.status === "asked" && wish.askedAt <= late ? { ...wish, status: "pending" } : wish;
  const { subscriptions, rooms, queue } = step.state;
  step.set({
    subscriptions: new Map([...subscriptions].map(([key, wish]) => [key, again(wish)])),
    rooms: new Map([...rooms].map(([key, wish]) => [key, again(wish)])),
    queue: queue.map((item) => (item.sentAt !== null && item.sentAt <= late ? { ...item, sentAt: null } : item)),
  });
  pump(step);
}

function armLapse(step: Step): void {
  const { subscriptions, rooms, queue } = step.state;
  const asked = [...subscriptions.values(), ...rooms.values()].filter((wish) => wish.status === "asked");
  const since = [...asked.map((wish) => wish.askedAt), ...queue.flatMap(({ sentAt }) => sentAt ?? [])];
  if (since.length) step.after("lapse", Math.min(...since) + step.config.answerTimeoutMs - step.now);
  else step.cancel("lapse");
}

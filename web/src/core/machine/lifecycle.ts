/**
 * The life of the connection: token, socket, loss, waiting, coming back. Knows nothing of learners.
 */

import { RealtimeError, reconnects } from "../../codes";
import type { ConnectionEstablishedFrame, ServerDrainingFrame } from "../frames";
import { armHeartbeat, armRefresh, compareClocks, refreshLater, sendPing } from "./heartbeat";
import { adoptUser, failOversized } from "./queue";
import type { Step } from "./step";
import type { Event } from "./types";

type EventOf<T> = Extract<Event, { type: T }>;

/** The application wants a connection. */
export function connect(step: Step): void {
  const { phase } = step.state;
  if (phase !== "idle" && phase !== "closed" && phase !== "waiting") return;
  step.set({ attempt: 0, notBefore: 0, error: null, refused: null });
  begin(step);
}

/** The application wants none. Subscriptions and the queue are kept for the next `connect`. */
export function disconnect(step: Step): void {
  abandon(step, false);
  step.set({ phase: "idle", attempt: 0, retryAt: null, error: null });
}

/**
 * Start an attempt: every one begins with asking for a token, since the last may have run out while
 * we waited.
 */
export function begin(step: Step): void {
  step.set({ phase: "token", retryAt: null });
  step.after("attempt", step.config.attemptTimeoutMs);
  askForToken(step);
}

/**
 * A token came, or none did, for a new connection or to replace the one of the open connection in
 * place.
 */
export function onToken(step: Step, { request, token, user }: EventOf<"token">): void {
  const { state } = step;
  if (request !== state.tokenRequest) return;
  if (state.phase === "token") {
    // A refused token is never sent twice: knocking with it every few seconds is what a broken
    // client does.
    if (!token || token === state.refused) return onNoToken(step);
    step.set({ phase: "opening", socket: state.socket + 1, token, tokenUser: user });
    adoptUser(step, user);
    return step.do({ do: "open", socket: state.socket + 1 });
  }
  if (state.phase !== "open") return;
  if (!token || token === state.token) return refreshLater(step);
  step.set({ token });
  if (user !== null && state.user !== null && user !== state.user) return restart(step);
  step.send({ type: "authenticate", token, id: step.nextId("auth") });
}

/** Without a token there is nothing to connect with, for now. */
export function onNoToken(step: Step): void {
  retryLater(step, new RealtimeError("no_token", true));
}

/** The application has another token than before: use it, now if that helps. */
export function onTokenChanged(step: Step): void {
  const { phase } = step.state;
  if (phase === "open") askForToken(step);
  else if (phase !== "idle" && phase !== "closed") restart(step);
}

/** Ask for a token; while a connection is open it goes on. */
export function askForToken(step: Step): void {
  step.set({ tokenRequest: step.state.tokenRequest + 1 });
  step.do({ do: "get_token", request: step.state.tokenRequest });
}

/** The socket is open: say who we are. The token goes into the first frame, never into the URL. */
export function onSocketOpen(step: Step): void {
  if (step.state.phase !== "opening") return;
  step.set({ phase: "authenticating", heardAt: step.now });
  step.send({ type: "authenticate", token: step.state.token! });
}

export function onEstablished(step: Step, frame: ConnectionEstablishedFrame): void {
  if (step.state.phase !== "authenticating") return;
  step.set({
    phase: "open",
    openedAt: step.now,
    error: null,
    closeCode: null,
    refused: null,
    notBefore: 0,
    ping: null,
    connection: frame,
    budget: step.config.burst,
    budgetAt: step.now,
  });
  compareClocks(step, frame.timestamp, 0);
  // One name per person: a token's own wins, so that what was stored before the first connection is
  // found again.
  adoptUser(step, step.state.tokenUser ?? frame.user?.id ?? null);
  armRefresh(step, frame.expires_at, frame.timestamp);
  armHeartbeat(step);
  sendPing(step);
  step.notify({ kind: "open" });
}

/** The server will go away: move at the moment it gave this socket. */
export function onDraining(step: Step, frame: ServerDrainingFrame): void {
  step.set({ draining: true, notBefore: step.now + frame.reconnect_after_ms });
  step.after("drain", frame.reconnect_after_ms);
}

/** The socket closed, or the machine knows it is dead. */
export function onClosed(step: Step, { code, reason }: { code: number; reason: string }): void {
  const { state, config } = step;
  if (code === 4401) step.set({ refused: state.token });
  if (code === 1009) failOversized(step);
  if (state.phase === "open" && step.now - state.openedAt >= config.stableMs)
    step.set({ attempt: 0 });
  const drained = state.draining && state.notBefore > step.now;
  forget(step);
  step.set({ closeCode: code });
  const error = new RealtimeError("connection_lost", reconnects(code));
  if (error.retryable) retryLater(step, error, drained);
  else stayClosed(step, error);
  const reconnecting = step.state.phase === "waiting";
  step.notify({ kind: "close", code, reason, reconnecting });
  if (!reconnecting && code !== 1000) step.error(error);
}

/**
 * Close the current socket ourselves and treat it as lost at once: a dead one may take minutes to
 * say so.
 */
export function declareDead(step: Step): void {
  step.do({ do: "close", code: 4408 });
  onClosed(step, { code: 4408, reason: "" });
}

/** Leave the current connection and make another without waiting. */
export function restart(step: Step): void {
  abandon(step, true);
  begin(step);
}

/** Wait for the next attempt, or give up when the application limited them. */
function retryLater(step: Step, error: RealtimeError, drained = false): void {
  const { state, config } = step;
  if (!config.reconnect || state.attempt >= config.maxAttempts) return stayClosed(step, error);
  // The drain delay is jittered per socket by the server; adding ours would only keep people
  // waiting.
  wait(step, drained ? 0 : step.backoff(state.attempt));
  step.set({ error, attempt: state.attempt + 1 });
}

function stayClosed(step: Step, error: RealtimeError): void {
  step.set({ phase: "closed", error, retryAt: null });
}

/** Wait this long, from when the server allows us to come back. */
function wait(step: Step, extraMs: number): void {
  const ms = Math.max(0, step.state.notBefore - step.now) + extraMs;
  step.set({ phase: "waiting", retryAt: step.now + ms });
  step.after("reconnect", ms);
}

/** The network is back, or somebody looks: come back soon, each client at its own moment. */
export function onNear(step: Step): void {
  const { state, config } = step;
  if (state.phase === "open") return sendPing(step);
  const gaveUp = state.phase === "closed" && config.reconnect && state.error?.retryable;
  if (state.phase !== "waiting" && !gaveUp) return;
  step.set({ attempt: 0 });
  wait(step, step.random * config.minDelayMs);
}

/** Close the current socket, if there is one, and ignore what it still says. */
function abandon(step: Step, reconnecting: boolean): void {
  const { connection } = step.state;
  step.do({ do: "close", code: 1000 });
  forget(step);
  if (connection) step.notify({ kind: "close", code: 1000, reason: "", reconnecting });
}

/** No socket can be made of this URL; waiting would not cure it. */
export function onImpossible(step: Step): void {
  const error = new RealtimeError("bad_url");
  stayClosed(step, error);
  step.error(error);
}

/**
 * What was true of the last connection is not true any more; what the application wants still is.
 */
function forget(step: Step): void {
  const { state } = step;
  step.do({ do: "cancel_timers" });
  step.set({
    socket: state.socket + 1,
    tokenRequest: state.tokenRequest + 1,
    connection: null,
    ping: null,
    draining: false,
    expiresAt: null,
    pausedUntil: 0,
    wishes: new Map(
      [...state.wishes]
        .filter(([, wish]) => wish.wanted > 0)
        .map(([id, wish]) => [id, { ...wish, status: "pending", askedAs: null, notBefore: 0 }]),
    ),
    rooms: new Map(),
    queue: state.queue.map((item) => ({ ...item, sentAt: null })),
  });
}

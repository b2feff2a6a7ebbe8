/**
 * The values the state machine is made of: configuration, state, events in, effects out. No
 * behaviour.
 */

import type { RealtimeError } from "../../codes";
import type { Parsed } from "../parse";
import type {
  ClientFrame,
  CognitiveState,
  ConnectionEstablishedFrame,
  Assessment,
  RoomMember,
  ServerFrame,
  StateUpdateFrame,
  SubscriptionMode,
  VirtualBrainInteraction,
  VirtualBrainResponseFrame,
} from "../frames";

/** The machine's constants; times in milliseconds. */
export interface Config {
  /** Whether a lost connection is opened again. */
  readonly reconnect: boolean;
  /** Least and greatest wait between attempts. */
  readonly minDelayMs: number;
  readonly maxDelayMs: number;
  /** Failed attempts in a row after which it gives up; `Infinity` for never. */
  readonly maxAttempts: number;
  /**
   * A connection that lived at least this long resets the count of attempts; one that flaps does
   * not.
   */
  readonly stableMs: number;
  /** Longest time from asking for a token to `connection_established`. */
  readonly attemptTimeoutMs: number;
  /** Silence after which the client pings, and how long it waits for the pong. */
  readonly heartbeatMs: number;
  readonly pongTimeoutMs: number;
  /** Unanswered interactions and subscriptions are sent again after this. */
  readonly answerTimeoutMs: number;
  /** Longest lead before its expiry at which a token is replaced. */
  readonly refreshMarginMs: number;
  /** How long a subscription outlives its last watcher, so that re-mounting costs nothing. */
  readonly lingerMs: number;
  /** Interactions on the wire at once. */
  readonly maxInFlight: number;
  /** The client's own pace, below the server's limit of 50 frames/s with a burst of 100. */
  readonly framesPerSecond: number;
  readonly burst: number;
  /** Bounds of the offline queue: how many, how old. */
  readonly queueMaxItems: number;
  readonly queueMaxAgeMs: number;
}

/** Defaults of every constant. */
export const defaultConfig: Config = {
  reconnect: true,
  minDelayMs: 500,
  maxDelayMs: 20_000,
  maxAttempts: Infinity,
  stableMs: 5_000,
  attemptTimeoutMs: 20_000,
  heartbeatMs: 25_000,
  pongTimeoutMs: 10_000,
  answerTimeoutMs: 15_000,
  refreshMarginMs: 60_000,
  lingerMs: 1_000,
  maxInFlight: 32,
  framesPerSecond: 40,
  burst: 80,
  queueMaxItems: 1_000,
  // The server takes interactions up to 7 days old; an hour less leaves room for clocks that
  // disagree.
  queueMaxAgeMs: (7 * 24 - 1) * 3_600_000,
};

/**
 * Where the connection is: `idle` (not asked for) → `token` (waiting for `getToken`) → `opening`
 * → `authenticating` → `open`; from any of them to `waiting` (for the next attempt) or `closed`
 * (it will not try again by itself).
 */
export type Phase = "idle" | "token" | "opening" | "authenticating" | "open" | "waiting" | "closed";

/**
 * Something the application wants from the server for as long as it is connected: to watch a
 * learner, to be in a room.
 */
export interface Wish {
  readonly kind: "learner" | "room";
  /** The learner's or the room's id. */
  readonly key: string;
  /** How many parts of the application want it; at 0 it lingers, then goes. */
  readonly wanted: number;
  readonly status: "pending" | "asked" | "active" | "refused";
  /** Request id and time of the last time it was asked for. */
  readonly askedAs: string | null;
  readonly askedAt: number;
  /** Not asked for before this time. */
  readonly notBefore: number;
  /** How a learner is watched. */
  readonly mode: SubscriptionMode;
  readonly minIntervalMs: number;
}

/**
 * What is known about one learner; replaced, never changed, so that `===` tells whether anything
 * moved.
 */
export interface LearnerView {
  readonly learnerId: string;
  /** The newest levels seen; null while the learner has none. */
  readonly state: CognitiveState | null;
  readonly epoch: string | null;
  readonly revision: number | null;
  /** When the server made the state shown, by its clock; ms since 1970. */
  readonly updatedAt: number | null;
  /**
   * What brought the state shown: with `crossings`, `coalesced`, `trace_id` where the server told
   * them.
   */
  readonly update: StateUpdateFrame | null;
  /** Performance, mastery, recommendations, drivers …: whatever the server told, newest of each. */
  readonly details: Assessment;
  /** The revision `details` were last told at; may lie behind `revision`. */
  readonly detailsRevision: number | null;
}

/** An interaction that waits for its acknowledgement. */
export interface QueuedInteraction {
  readonly data: VirtualBrainInteraction & { readonly interaction_id: string };
  /** When it was given to us, by this device's clock. */
  readonly queuedAt: number;
  /** Whose it is; null while nobody is known to be logged in. */
  readonly user: string | null;
  /** When it was sent on the current connection; null when it was not. */
  readonly sentAt: number | null;
}

/** Everything the machine knows. */
export interface State {
  readonly phase: Phase;
  /** Serial of the current socket; events of earlier ones are ignored. */
  readonly socket: number;
  /** Serial of the current token request; answers to earlier ones are ignored. */
  readonly tokenRequest: number;
  /** Failed attempts in a row. */
  readonly attempt: number;
  /** When the next attempt is due (phase `waiting`). */
  readonly retryAt: number | null;
  /** The server asked not to come back before this. */
  readonly notBefore: number;
  readonly draining: boolean;
  /** Why it last failed or closed; null while all is well. */
  readonly error: RealtimeError | null;
  readonly closeCode: number | null;
  readonly openedAt: number;
  /** The established connection, as the server introduced it. */
  readonly connection: ConnectionEstablishedFrame | null;
  readonly token: string | null;
  readonly refused: string | null;
  /** Whose token it is, when that can be read from it; otherwise the server's introduction says. */
  readonly tokenUser: string | null;
  /** When the token runs out, by our clock. */
  readonly expiresAt: number | null;
  readonly user: string | null;
  readonly heardAt: number | null;
  readonly ping: { readonly id: string; readonly sentAt: number } | null;
  readonly rttMs: number | null;
  readonly rttAt: number;
  /** Server clock minus ours. */
  readonly skewMs: number;
  /** Age of the last update when it arrived. */
  readonly lagMs: number;
  /** When updates were found missing, last minute only. */
  readonly gaps: readonly number[];
  /** Frames that may be sent now, and as of when. */
  readonly budget: number;
  readonly budgetAt: number;
  /** Source of request ids. */
  readonly serial: number;
  /** By `wishId`. */
  readonly wishes: ReadonlyMap<string, Wish>;
  /** Who is in the rooms we are in. */
  readonly rooms: ReadonlyMap<string, readonly RoomMember[]>;
  readonly learners: ReadonlyMap<string, LearnerView>;
  readonly queue: readonly QueuedInteraction[];
  readonly pausedUntil: number;
}

/** How a subscription is asked for. */
export interface SubscribeOptions {
  /** Default `latest`. */
  mode?: SubscriptionMode;
  /** Default 0: as fast as they come. */
  minIntervalMs?: number;
}

export type TimerName =
  "reconnect" | "attempt" | "heartbeat" | "pong" | "refresh" | "pump" | "drain" | "release";

/** What can happen to the machine. */
export type Event =
  | { readonly type: "connect" }
  | { readonly type: "disconnect" }
  | { readonly type: "online" | "offline" | "visible" }
  | {
      readonly type: "token";
      readonly request: number;
      readonly token: string | null;
      readonly user: string | null;
    }
  | { readonly type: "token_changed" }
  | { readonly type: "socket_open"; readonly socket: number }
  | { readonly type: "socket_message"; readonly socket: number; readonly parsed: Parsed }
  | {
      readonly type: "socket_close";
      readonly socket: number;
      readonly code: number;
      readonly reason: string;
    }
  | { readonly type: "socket_impossible"; readonly socket: number }
  | { readonly type: "timer"; readonly name: TimerName }
  | {
      readonly type: "want";
      readonly kind: Wish["kind"];
      readonly key: string;
      readonly options?: SubscribeOptions;
    }
  | { readonly type: "unwant"; readonly kind: Wish["kind"]; readonly key: string }
  | { readonly type: "interact"; readonly item: QueuedInteraction }
  | {
      readonly type: "queue_loaded";
      readonly user: string;
      readonly items: readonly QueuedInteraction[];
    }
  | { readonly type: "queue_clear" }
  | { readonly type: "send"; readonly frame: ClientFrame };

/** What the application is told. */
export type Notice =
  | { readonly kind: "open" }
  | {
      readonly kind: "close";
      readonly code: number;
      readonly reason: string;
      readonly reconnecting: boolean;
    }
  | { readonly kind: "frame"; readonly frame: ServerFrame }
  | { readonly kind: "state"; readonly update: StateUpdateFrame }
  | {
      readonly kind: "acknowledged";
      readonly id: string;
      readonly response: VirtualBrainResponseFrame;
    }
  | { readonly kind: "failed"; readonly id: string; readonly error: RealtimeError }
  | { readonly kind: "error"; readonly error: RealtimeError; readonly frame?: ServerFrame };

/** What the machine wants done, in this order. */
export type Effect =
  | { readonly do: "get_token"; readonly request: number }
  | { readonly do: "open"; readonly socket: number }
  | { readonly do: "close"; readonly code: number }
  | { readonly do: "send"; readonly frame: ClientFrame }
  | { readonly do: "timer"; readonly name: TimerName; readonly ms: number }
  | { readonly do: "cancel_timers" }
  | { readonly do: "save"; readonly item: QueuedInteraction }
  | { readonly do: "remove"; readonly item: QueuedInteraction }
  | { readonly do: "load"; readonly user: string }
  | { readonly do: "notify"; readonly notice: Notice };

/** The machine before anything happened. */
export function initialState(user: string | null = null): State {
  return {
    phase: "idle",
    socket: 0,
    tokenRequest: 0,
    attempt: 0,
    retryAt: null,
    notBefore: 0,
    draining: false,
    error: null,
    closeCode: null,
    openedAt: 0,
    connection: null,
    token: null,
    refused: null,
    tokenUser: null,
    expiresAt: null,
    user,
    heardAt: null,
    ping: null,
    rttMs: null,
    rttAt: 0,
    skewMs: 0,
    lagMs: 0,
    gaps: [],
    budget: 0,
    budgetAt: 0,
    serial: 0,
    wishes: new Map(),
    rooms: new Map(),
    learners: new Map(),
    queue: [],
    pausedUntil: 0,
  };
}

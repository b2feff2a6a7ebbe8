/**
 * The part of the machine's state that applications see; the same object as long as nothing in it
 * changed.
 */

import type { RealtimeError } from "../codes";
import type { RoomMember, UserInfo } from "./frames";
import type { Phase, State } from "./machine/types";

/** `reconnecting`: lost, and trying again; `error`: will not try again by itself. */
export type ConnectionStatus =
  "disconnected" | "connecting" | "connected" | "reconnecting" | "error";

/** The connection as an application sees it. */
export interface ClientSnapshot {
  readonly status: ConnectionStatus;
  readonly isConnected: boolean;
  readonly connectionId: string | null;
  /** Who the server says we are. */
  readonly user: UserInfo | null;
  /** Why there is no connection; null while all is well. */
  readonly error: RealtimeError | null;
  readonly closeCode: number | null;
  /** Failed attempts in a row; 0 while connected. */
  readonly reconnectAttempts: number;
  /** When the next attempt is due, ms since 1970. */
  readonly retryAt: number | null;
  /** The server announced that it will go away; the client moves by itself. */
  readonly draining: boolean;
  /** Learners whose subscription the server has confirmed on this connection. */
  readonly subscribedLearners: ReadonlySet<string>;
  /** Members by room. */
  readonly rooms: ReadonlyMap<string, readonly RoomMember[]>;
  /** Interactions that wait for their acknowledgement. */
  readonly queueSize: number;
  readonly rttMs: number | null;
}

const statusByPhase: Partial<Record<Phase, ConnectionStatus>> = {
  idle: "disconnected",
  open: "connected",
  waiting: "reconnecting",
};

function statusOf({ phase, attempt, closeCode }: State): ConnectionStatus {
  if (phase === "closed") return closeCode === 1000 ? "disconnected" : "error";
  return statusByPhase[phase] ?? (attempt > 0 ? "reconnecting" : "connecting");
}

/** The snapshot of a state, or the previous one when it says the same. */
export function snapshotOf(state: State, previous: ClientSnapshot | null): ClientSnapshot {
  const active = [...state.wishes.values()].filter(
    (wish) => wish.wanted > 0 && wish.status === "active",
  );
  const learners = active.filter((wish) => wish.kind === "learner").map((wish) => wish.key);
  const old = previous?.subscribedLearners;
  const next: ClientSnapshot = {
    status: statusOf(state),
    isConnected: state.phase === "open",
    connectionId: state.connection?.connection_id ?? null,
    user: state.connection?.user ?? null,
    error: state.error,
    closeCode: state.closeCode,
    reconnectAttempts: state.phase === "open" ? 0 : state.attempt,
    retryAt: state.retryAt,
    draining: state.draining,
    subscribedLearners: old && [...old].join() === learners.join() ? old : new Set(learners),
    rooms: state.rooms,
    queueSize: state.queue.length,
    rttMs: state.rttMs,
  };
  const same =
    previous &&
    (Object.keys(next) as (keyof ClientSnapshot)[]).every((key) => next[key] === previous[key]);
  return same ? previous : next;
}

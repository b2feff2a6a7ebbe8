/**
 * The connection as a pure function: (state, event, now, random) → (state, effects).
 *
 * Start reading here. `lifecycle` opens, loses and reopens the connection; `heartbeat` notices
 * when it is dead and when its token runs out; `inbound` says what each frame means; `learners`
 * keeps what is shown; `wishes` pumps out what the application wants; `queue` holds interactions
 * until they are acknowledged. The client (`../client.ts`) does the effects.
 */

import {
  askForToken,
  begin,
  connect,
  declareDead,
  disconnect,
  onClosed,
  onImpossible,
  onNear,
  onNoToken,
  onSocketOpen,
  onToken,
  onTokenChanged,
  restart,
} from "./lifecycle";
import { onHeartbeat, sendPing } from "./heartbeat";
import { onMessage } from "./inbound";
import { clearQueue, enqueue, onLoaded } from "./queue";
import { Step } from "./step";
import type { Config, Effect, Event, State, TimerName } from "./types";
import { pump, release, unwant, want } from "./wishes";

/** What a transition gives: the next state, and what to do, in order. */
export interface Transition {
  readonly state: State;
  readonly effects: readonly Effect[];
}

/** Advance the machine by one event. `random` is uniform in [0, 1). */
export function reduce(
  state: State,
  event: Event,
  now: number,
  random: number,
  config: Config,
): Transition {
  const step = new Step(state, now, random, config);
  apply(step, event);
  return { state: step.state, effects: step.effects };
}

function apply(step: Step, event: Event): void {
  if ("socket" in event && event.socket !== step.state.socket) return;
  (handlers[event.type] as (step: Step, event: Event) => void)(step, event);
  pump(step);
}

/**
 * One entry per event. Whatever happened, the pump runs afterwards: it does nothing where there is
 * nothing to do.
 */
type Handlers = {
  readonly [T in Event["type"]]: (step: Step, event: Extract<Event, { type: T }>) => void;
};

const handlers: Handlers = {
  connect,
  disconnect,
  online: onNear,
  visible: onNear,
  offline: sendPing,
  token: onToken,
  token_changed: onTokenChanged,
  socket_open: onSocketOpen,
  socket_message: onMessage,
  socket_close: onClosed,
  socket_impossible: onImpossible,
  timer: (step, event) => timers[event.name](step),
  want,
  unwant,
  interact: enqueue,
  queue_loaded: onLoaded,
  queue_clear: clearQueue,
  send: (step, event) => step.state.phase === "open" && step.send(event.frame),
};

const timers: Readonly<Record<TimerName, (step: Step) => void>> = {
  reconnect: (step) => step.state.phase === "waiting" && begin(step),
  attempt(step) {
    const { phase, connection } = step.state;
    if (phase === "token") onNoToken(step);
    else if (!connection) declareDead(step);
  },
  heartbeat: onHeartbeat,
  pong: (step) => step.state.ping && declareDead(step),
  refresh: (step) => step.state.phase === "open" && askForToken(step),
  pump: () => {},
  drain: (step) => step.state.draining && restart(step),
  release,
};

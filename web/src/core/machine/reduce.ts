/**
 * The connection as a pure function: (state, event, now, random) → (state, effects).
 *
 * Start reading here. `lifecycle` opens, loses and reopens the connection; `heartbeat` notices when it is dead and when its
 * token runs out; `inbound` says what each frame means; `learners` keeps what is shown; `wishes` pumps out what the
 * application wants; `queue` holds interactions until they are acknowledged. The client (`../client.ts`) does the effects.
 */

import { RealtimeError } from "../../codes";
import { askForToken, begin, connect, declareDead, disconnect, onClosed, onNear, onSocketOpen, onToken, onTokenChanged, onTokenFailed, restart } from "./lifecycle";
import { onHeartbeat, refreshIsEarly, sendPing } from "./heartbeat";
import { onFrame } from "./inbound";
import { clearQueue, enqueue, onLoaded } from "./queue";
import { Step } from "./step";
import type { Config, Effect, Event, State, TimerName } from "./types";
import { join, leave, onLapse, pump, release, subscribe, unsubscribe } from "./wishes";

/** What a transition gives: the next state, and what to do, in order. */
export interface Transition {
  readonly state: State;
  readonly effects: readonly Effect[];
}

/** Advance the machine by one event. `random` is uniform in [0, 1). */
export function reduce(state: State, event: Event, now: number, random: number, config: Config): Transition {
  const step = new Step(state, now, random, config);
  apply(step, event);
  return { state: step.state, effects: step.effects };
}

function apply(step: Step, event: Event): void {
  if ("socket" in event && event.socket !== step.state.socket) return;
  switch (event.type) {
    case "connect": return connect(step);
    case "disconnect": return disconnect(step);
    case "online":
    case "visible": return onNear(step);
    case "offline": return sendPing(step);
    case "token": return onToken(step, event.request, event.token, event.user);
    case "token_failed": return onTokenFailed(step, event.request, event.message);
    case "token_changed": return onTokenChanged(step);
    case "socket_open": return onSocketOpen(step);
    case "socket_frame": return onFrame(step, event.frame);
    case "socket_noise": return onNoise(step, event.problem);
    case "socket_close": return onClosed(step, event.code, event.reason);
    case "socket_impossible": {
      const error = new RealtimeError("bad_url", event.message);
      step.cancel("attempt");
      step.set({ phase: "closed", error });
      return step.error(error);
    }
    case "timer": return timers[event.name](step);
    case "subscribe": return subscribe(step, event.learnerId, event.options);
    case "unsubscribe": return unsubscribe(step, event.learnerId);
    case "join": return join(step, event.roomId);
    case "leave": return leave(step, event.roomId);
    case "interact":
      enqueue(step, event.item);
      return pump(step);
    case "queue_loaded":
      onLoaded(step, event.user, event.items);
      return pump(step);
    case "queue_clear": return clearQueue(step);
    case "send":
      if (step.state.phase === "open") step.send(event.frame);
  }
}

const timers: Readonly<Record<TimerName, (step: Step) => void>> = {
  reconnect: (step) => step.state.phase === "waiting" && begin(step),
  attempt(step) {
    const { phase } = step.state;
    if (phase === "token") onTokenFailed(step, step.state.tokenRequest, "getToken gave no answer");
    else if (phase === "opening" || phase === "authenticating") declareDead(step, "no answer to the handshake");
  },
  heartbeat: onHeartbeat,
  pong: (step) => step.state.ping && declareDead(step, "no pong"),
  refresh: (step) => step.state.phase === "open" && !refreshIsEarly(step) && askForToken(step),
  pump,
  lapse: onLapse,
  drain: (step) => step.state.draining && restart(step),
  release,
};

/** Something came that is no frame we know: proof of life, and an error when it breaks the protocol. */
function onNoise(step: Step, problem: string | null): void {
  step.set({ lastInboundAt: step.now });
  if (problem !== null) step.error(new RealtimeError("bad_frame", `ignored what the server sent: ${problem}`));
}

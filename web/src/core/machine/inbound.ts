/** What each server frame means to the machine: one entry per type. */

import { RealtimeError } from "../../codes";
import type {
  ErrorFrame,
  RoomJoinedFrame,
  ServerFrame,
  UnsubscribedFrame,
  UserJoinedFrame,
  UserLeftFrame,
} from "../frames";
import type { Parsed } from "../parse";
import { armRefresh, onPong } from "./heartbeat";
import { onResponse, onSubscribed, onUpdate, show } from "./learners";
import { askForToken, onDraining, onEstablished, restart } from "./lifecycle";
import { onAcknowledged, onRefused, pauseQueue } from "./queue";
import { withEntry, type Step } from "./step";
import { changeWish, endWish, onWishRefused, wishOf } from "./wishes";

type Presence = (UserJoinedFrame | UserLeftFrame | RoomJoinedFrame) &
  Pick<RoomJoinedFrame, "members">;
type Handlers = {
  readonly [T in ServerFrame["type"]]?: (
    step: Step,
    frame: Extract<ServerFrame, { type: T }>,
  ) => void;
};

const handlers: Handlers = {
  connection_established: onEstablished,
  authenticated: (step, frame) => armRefresh(step, frame.expires_at, frame.timestamp),
  subscribed: onSubscribed,
  unsubscribed: onUnsubscribed,
  state_update: onUpdate,
  virtual_brain_response(step, frame) {
    onResponse(step, frame);
    onAcknowledged(step, frame);
  },
  state_response: (step, frame) => show(step, frame, frame),
  room_joined: onRoom,
  user_joined: onRoom,
  user_left: onRoom,
  pong: onPong,
  server_draining: onDraining,
  error: onError,
};

/** Something came over the current socket: proof of life, whatever it is. */
export function onMessage(step: Step, { parsed }: { parsed: Parsed }): void {
  step.set({ heardAt: step.now });
  if ("problem" in parsed)
    return step.error(new RealtimeError("bad_frame", false, undefined, parsed.problem));
  if (!("frame" in parsed)) return;
  const { frame } = parsed;
  if (Object.hasOwn(handlers, frame.type))
    (handlers[frame.type] as (step: Step, frame: ServerFrame) => void)(step, frame);
  step.notify({ kind: "frame", frame });
}

/** Only an unsubscription with a code is the server's doing; ours was forgotten when we sent it. */
function onUnsubscribed(step: Step, frame: UnsubscribedFrame): void {
  const wish = wishOf(step, "learner", frame.learner_id);
  if (!frame.code || !wish) return;
  endWish(step, wish, frame.retryable === true);
  if (!frame.retryable) step.error(new RealtimeError(frame.code, false, frame.learner_id));
}

function onError(step: Step, frame: ErrorFrame): void {
  const code = frame.code ?? "internal";
  const error = new RealtimeError(code, frame.retryable, frame.id, frame.error);
  if (frame.retry_after_ms) {
    // Should a close follow, this is also the time to stay away.
    step.set({ notBefore: step.now + frame.retry_after_ms });
    if (!frame.id) pauseQueue(step, frame.retry_after_ms);
  }
  const ours = onRefused(step, frame, error);
  const answersWish = !ours && onWishRefused(step, frame, error);
  if (step.state.phase === "open" && code === "unauthenticated") askForToken(step);
  // The replacement token was not accepted on this socket, for instance because it is another
  // person's.
  else if (step.state.phase === "open" && frame.message_type === "authenticate") restart(step);
  // What is tried again by itself is no news; a refused interaction is told as `failed`.
  if (!(ours || (answersWish && error.retryable))) step.notify({ kind: "error", error, frame });
}

/** We came into a room, which tells who is there, or somebody came or went. */
function onRoom(step: Step, { type, room_id, members, connection_id, user }: Presence): void {
  const wish = wishOf(step, "room", room_id);
  if (!wish) return;
  changeWish(step, wish, { status: "active", askedAs: null });
  const others = (step.state.rooms.get(room_id) ?? []).filter(
    (other) => other.connection_id !== connection_id,
  );
  const present =
    type === "user_joined"
      ? [...others, { connection_id: connection_id!, user }]
      : (members ?? others);
  step.set({ rooms: withEntry(step.state.rooms, room_id, present) });
}

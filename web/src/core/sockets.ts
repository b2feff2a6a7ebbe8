/**
 * Opens, feeds and closes one WebSocket after another, and turns what they say into events. Decides
 * nothing.
 */

import type { Environment, SocketLike } from "./environment";
import type { ClientFrame } from "./frames";
import type { Event } from "./machine/types";
import type { Parsed } from "./parse";

/** The sockets of one client; only the newest one is fed and heard. */
export interface Sockets {
  /** Open another one; its events carry its serial number. */
  open(serial: number): void;
  send(frame: ClientFrame): void;
  /** Close it, if there is one; what it still says is not heard. */
  close(code: number): void;
}

export function makeSockets(
  url: string,
  environment: Environment,
  parse: (data: unknown) => Parsed,
  dispatch: (event: Event) => void,
): Sockets {
  let socket: SocketLike | null = null;
  return {
    open(serial) {
      try {
        socket = new environment.WebSocket(url);
      } catch {
        // A malformed URL: waiting would not cure it.
        return dispatch({ type: "socket_impossible", socket: serial });
      }
      socket.onopen = () => dispatch({ type: "socket_open", socket: serial });
      socket.onmessage = ({ data }) =>
        dispatch({ type: "socket_message", socket: serial, parsed: parse(data) });
      // An error is always followed by a close, which says more.
      socket.onclose = ({ code, reason }) =>
        dispatch({ type: "socket_close", socket: serial, code, reason });
    },
    send: (frame) => socket!.send(JSON.stringify(frame)),
    close(code) {
      if (!socket) return;
      socket.onopen = socket.onmessage = socket.onclose = null;
      socket.close(code);
    },
  };
}

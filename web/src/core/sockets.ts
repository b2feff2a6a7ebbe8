/** Opens, feeds and closes WebSockets by serial number, and turns what they say into events. Decides nothing. */

import type { Environment, SocketLike } from "./environment";
import type { ClientFrame } from "./frames";
import type { Event } from "./machine/types";
import type { Parsed } from "./parse";

/** The sockets of one client; only the newest one is fed and heard. */
export interface Sockets {
  open(serial: number): void;
  send(serial: number, frame: ClientFrame): void;
  close(serial: number, code: number): void;
}

export function makeSockets(
  url: string, environment: Environment, parse: (data: unknown) => Parsed, dispatch: (event: Event) => void,
): Sockets {
  let current = -1;
  let socket: SocketLike;
  return {
    open(serial) {
      try {
        socket = new environment.WebSocket(url);
      } catch {
        // A malformed URL: waiting would not cure it.
        return dispatch({ type: "socket_impossible", socket: serial });
      }
      current = serial;
      socket.onopen = () => dispatch({ type: "socket_open", socket: serial });
      socket.onmessage = ({ data }) => dispatch({ type: "socket_message", socket: serial, parsed: parse(data) });
      // An error is always followed by a close, which says more.
      socket.onclose = ({ code, reason }) => dispatch({ type: "socket_close", socket: serial, code, reason });
    },
    send(serial, frame) {
      if (serial === current) socket.send(JSON.stringify(frame));
    },
    close(serial, code) {
      if (serial !== current) return;
      current = -1;
      socket.onopen = socket.onmessage = socket.onclose = null;
      socket.close(code);
    },
  };
}

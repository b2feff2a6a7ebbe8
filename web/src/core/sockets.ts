/** Opens, feeds and closes WebSockets by serial number, and turns what they say into events. Decides nothing. */

import type { Environment, SocketLike } from "./environment";
import type { ClientFrame } from "./frames";
import type { Event } from "./machine/types";
import type { Parsed } from "./parse";

export class Sockets {
  #current: { readonly serial: number; readonly socket: SocketLike } | null = null;

  constructor(
    private readonly url: string,
    private readonly environment: Environment,
    private readonly parse: (data: unknown) => Parsed,
    private readonly dispatch: (event: Event) => void,
  ) {}

  /** Open a socket; a malformed URL becomes an event, since waiting would not cure it. */
  open(serial: number): void {
    let socket: SocketLike;
    try {
      socket = new this.environment.WebSocket(this.url);
    } catch {
      return this.dispatch({ type: "socket_impossible", socket: serial });
    }
    this.#current = { serial, socket };
    socket.onopen = () => this.dispatch({ type: "socket_open", socket: serial });
    socket.onmessage = ({ data }) => this.dispatch({ type: "socket_message", socket: serial, parsed: this.parse(data) });
    // An error is always followed by a close, which says more.
    socket.onerror = () => {};
    socket.onclose = ({ code, reason }) => this.dispatch({ type: "socket_close", socket: serial, code, reason });
  }

  send(serial: number, frame: ClientFrame): void {
    if (this.#current?.serial === serial) this.#current.socket.send(JSON.stringify(frame));
  }

  close(serial: number, code: number, reason: string): void {
    if (this.#current?.serial !== serial) return;
    const { socket } = this.#current;
    this.#current = null;
    socket.onopen = socket.onmessage = socket.onclose = null;
    socket.close(code, reason);
  }
}

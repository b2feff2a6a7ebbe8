/**
 * The close and error codes of the protocol, each with what a client does about it. Knows nothing
 * of sockets.
 */

/** What to do after a close. */
export type AfterClose =
  /** Stay closed until the application calls `connect()` again. */
  | "stay_closed"
  /** Reconnect after a full-jitter backoff. */
  | "backoff"
  /** Reconnect after the delay the server named, or after a backoff when it named none. */
  | "after_server_delay"
  /** Get a token that differs from the refused one, then reconnect with backoff. */
  | "new_token";

/** What to do after each close code of `docs/protocol.md`; the drift test compares the two. */
export const closeCodes: Readonly<Record<number, AfterClose>> = {
  /** Normal. */
  1000: "stay_closed",
  /** A frame was too big: what was too big is given up, then reconnect. */
  1009: "backoff",
  /** Internal error. */
  1011: "backoff",
  /** The server restarts. */
  1012: "after_server_delay",
  /** Overloaded, or this reader is too slow. */
  1013: "backoff",
  /** Not JSON text frames. */
  4400: "stay_closed",
  /** Token missing, bad or expired. */
  4401: "new_token",
  /** Access revoked, or origin refused. */
  4403: "stay_closed",
  /** No `authenticate` in time, or no answer to pings. */
  4408: "backoff",
  /** Rate limit exceeded, or too many sockets. */
  4429: "after_server_delay",
};

/**
 * The rule for a code. What the table does not list – 1001, 1006 (the network went away), a proxy's
 * inventions – is `backoff`.
 */
export function afterClose(code: number): AfterClose {
  return closeCodes[code] ?? "backoff";
}

/**
 * The codes of the table that say `stay_closed`; a test keeps the two equal. The client itself
 * needs no more than this.
 */
const final = [1000, 4400, 4403];

/** Whether the client connects again by itself after this code. */
export function reconnects(code: number): boolean {
  return !final.includes(code);
}

/**
 * Codes of `error` frames. The socket stays open; the frame itself says whether trying again can
 * help (`retryable`).
 */
export const errorCodes = [
  "bad_request",
  "unknown_type",
  "unauthenticated",
  "forbidden",
  "not_found",
  "rate_limited",
  "overloaded",
  "too_many_subscriptions",
  "unavailable",
  "conflict",
  "internal",
] as const;

/** A code the server sends in an `error` frame. */
export type ServerErrorCode = (typeof errorCodes)[number];

/** Codes this client makes itself. */
export type ClientErrorCode =
  /** The server sent something that is not a frame of the protocol; it was ignored. */
  | "bad_frame"
  /** The connection failed or was lost while a request waited for its answer. */
  | "connection_lost"
  /** `getToken` failed, gave nothing, or gave the token the server had just refused. */
  | "no_token"
  /** The WebSocket could not be created, for instance because the URL is malformed. */
  | "bad_url"
  /** The request needs an open connection and there is none. */
  | "not_connected"
  /** No answer came in time. */
  | "timeout"
  /** The interaction is larger than a frame may be. */
  | "too_big"
  /** The offline queue is full; the new interaction was not taken. */
  | "queue_full"
  /** The interaction waited longer than the server accepts; it was dropped. */
  | "expired"
  /** The interaction was removed by `clearQueue()`. */
  | "cleared"
  /** The browser's storage refused the interaction: it is kept in memory only. */
  | "not_persisted";

/** An error as the package hands it to the application: never carries tokens or frame contents. */
export class RealtimeError extends Error {
  override readonly name = "RealtimeError";
  constructor(
    /** Machine-readable code; unknown codes of newer servers pass through. */
    readonly code: ServerErrorCode | ClientErrorCode | (string & {}),
    /** Whether the same request may succeed later. */
    readonly retryable: boolean = false,
    /** The request or interaction this is about, if it is about one. */
    readonly id?: string,
    /** The server's sentence, or more than the code says; default the code in words. */
    message: string = code.replaceAll("_", " "),
  ) {
    super(message);
  }
}

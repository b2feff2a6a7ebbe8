/** The close and error codes of the protocol, each with what a client does about it. Knows nothing of sockets. */

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

/** One row of the close code table. */
export interface CloseRule {
  /** What the code says, for people. */
  readonly meaning: string;
  /** Whether the client connects again by itself. */
  readonly reconnect: boolean;
  /** How it does so. */
  readonly then: AfterClose;
}

/** Close codes of `docs/protocol.md`; the drift test compares the two. */
export const closeCodes: Readonly<Record<number, CloseRule>> = {
  1000: { meaning: "normal", reconnect: false, then: "stay_closed" },
  1009: { meaning: "frame too big", reconnect: true, then: "backoff" },
  1011: { meaning: "internal error", reconnect: true, then: "backoff" },
  1012: { meaning: "server restarts", reconnect: true, then: "after_server_delay" },
  1013: { meaning: "overloaded, or this reader is too slow", reconnect: true, then: "backoff" },
  4400: { meaning: "not JSON text frames", reconnect: false, then: "stay_closed" },
  4401: { meaning: "token missing, bad or expired", reconnect: true, then: "new_token" },
  4403: { meaning: "access revoked, or origin refused", reconnect: false, then: "stay_closed" },
  4408: { meaning: "no authenticate in time, or no answer to pings", reconnect: true, then: "backoff" },
  4429: { meaning: "rate limit exceeded, or too many sockets", reconnect: true, then: "after_server_delay" },
};

/** For codes the protocol does not list: 1001, 1006 (the network went away) and whatever a proxy invents. */
const unlisted: CloseRule = { meaning: "connection lost", reconnect: true, then: "backoff" };

/** The rule for a close code; codes outside the table reconnect with backoff. */
export function closeRule(code: number): CloseRule {
  return closeCodes[code] ?? unlisted;
}

/** Codes of `error` frames. The socket stays open; the frame itself says whether trying again can help (`retryable`). */
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
    message: string,
    /** Whether the same request may succeed later. */
    readonly retryable: boolean = false,
    /** The request or interaction this is about, if it is about one. */
    readonly id?: string,
  ) {
    super(message);
  }
}

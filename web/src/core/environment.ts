/**
 * What the client needs of the world outside, so that tests can give another one. Nothing is
 * touched before it is used.
 */

import type { StorageLike } from "./storage";

/** The part of `WebSocket` that is used. */
export interface SocketLike {
  onopen: ((event: any) => void) | null;
  onmessage: ((event: { data: any }) => void) | null;
  onclose: ((event: { code: number; reason: string }) => void) | null;
  send(data: string): void;
  close(code?: number, reason?: string): void;
}

/** Time. Tests advance it by hand. */
export interface Clock {
  /** Milliseconds since 1970. */
  now(): number;
  setTimeout(callback: () => void, ms: number): unknown;
  clearTimeout(timer: unknown): void;
}

/** Everything outside. */
export interface Environment {
  readonly WebSocket: new (url: string) => SocketLike;
  readonly clock: Clock;
  /** Uniform in [0, 1); spreads reconnects. */
  readonly random: () => number;
  /** Fills an array with random bits; makes interaction ids. */
  readonly randomise: (words: Uint16Array<ArrayBuffer>) => void;
  /** Where the queue is kept; null keeps it in memory only. */
  readonly storage: StorageLike | null;
  /**
   * Calls back when the network goes or returns and when the page becomes visible; returns how to
   * stop.
   */
  readonly watch: (listener: (event: "online" | "offline" | "visible") => void) => () => void;
}

/** The browser as environment. Safe to build on a server, where nothing connects. */
export function browserEnvironment(): Environment {
  return {
    WebSocket: globalThis.WebSocket as unknown as Environment["WebSocket"],
    clock: {
      now: () => Date.now(),
      setTimeout: (callback, ms) => setTimeout(callback, ms),
      clearTimeout: (timer) => clearTimeout(timer as number),
    },
    random: Math.random,
    randomise: (words) => crypto.getRandomValues(words),
    storage: localStorageOrNull(),
    watch: watchBrowser,
  };
}

/** There is none on a server, and reading it throws where the user forbids it. */
function localStorageOrNull(): StorageLike | null {
  try {
    return window.localStorage;
  } catch {
    return null;
  }
}

function watchBrowser(listener: (event: "online" | "offline" | "visible") => void): () => void {
  const stop = new AbortController();
  const tell = ({ type }: Event) => {
    if (type === "online" || type === "offline") listener(type);
    else if (document.visibilityState === "visible") listener("visible");
  };
  // `visibilitychange` is fired at the document and bubbles up. Outside a browser there is nothing
  // to listen to.
  for (const type of ["online", "offline", "pageshow", "visibilitychange"])
    globalThis.addEventListener?.(type, tell, stop);
  return () => stop.abort();
}

/** What the client needs of the world outside, so that tests can give another one. Nothing is touched before it is used. */

import type { StorageLike } from "./storage";

/** The part of `WebSocket` that is used. */
export interface SocketLike {
  onopen: ((event: any) => void) | null;
  onmessage: ((event: { data: any }) => void) | null;
  onclose: ((event: { code: number; reason: string }) => void) | null;
  onerror: ((event: any) => void) | null;
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
  /** Fills an array with random bytes; makes interaction ids. */
  readonly randomBytes: (bytes: Uint8Array<ArrayBuffer>) => void;
  /** Where the queue is kept; null keeps it in memory only. */
  readonly storage: StorageLike | null;
  /** Calls back when the network goes or returns and when the page becomes visible; returns how to stop. */
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
    randomBytes: (bytes) => crypto.getRandomValues(bytes),
    storage: localStorageOrNull(),
    watch: watchBrowser,
  };
}

/** Reading `localStorage` throws where the user forbids it. */
function localStorageOrNull(): StorageLike | null {
  try {
    return typeof window === "undefined" ? null : window.localStorage;
  } catch {
    return null;
  }
}

function watchBrowser(listener: (event: "online" | "offline" | "visible") => void): () => void {
  if (typeof window === "undefined") return () => {};
  const online = () => listener("online");
  const offline = () => listener("offline");
  const visible = () => document.visibilityState === "visible" && listener("visible");
  window.addEventListener("online", online);
  window.addEventListener("offline", offline);
  window.addEventListener("pageshow", visible);
  document.addEventListener("visibilitychange", visible);
  return () => {
    window.removeEventListener("online", online);
    window.removeEventListener("offline", offline);
    window.removeEventListener("pageshow", visible);
    document.removeEventListener("visibilitychange", visible);
  };
}

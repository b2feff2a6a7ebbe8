/** Promises for answers that are still to come, by request id. Knows no connection. */

import { RealtimeError } from "../codes";
import type { Clock } from "./environment";
import type { ServerFrame } from "./frames";

interface Pending {
  readonly resolve: (frame: any) => void;
  readonly reject: (error: RealtimeError) => void;
  /** Zero for what outlives a connection: queued interactions. */
  readonly timer: unknown;
}

/** The requests of one client. */
export interface Requests {
  /** A promise for the answer to `id`. Ignoring a rejection is allowed. `timeoutMs` 0: it waits for as long as it takes. */
  expect<F>(id: string, timeoutMs: number): Promise<F>;
  /** Keep the promise, or break it with an error. */
  settle(id: string, outcome: ServerFrame | RealtimeError): void;
  /** Settle the request this frame answers, if it answers one. */
  answer(frame: ServerFrame): void;
  /** The connection is gone, and with it every answer that was on its way. */
  lost(): void;
}

export function makeRequests(clock: Clock): Requests {
  const all = new Map<string, Pending>();

  function settle(id: string, outcome: ServerFrame | RealtimeError): void {
    const pending = all.get(id);
    if (!pending) return;
    all.delete(id);
    clock.clearTimeout(pending.timer);
    if (outcome instanceof RealtimeError) pending.reject(outcome);
    else pending.resolve(outcome);
  }

  return {
    settle,
    expect<F>(id: string, timeoutMs: number) {
      const promise = new Promise<F>((resolve, reject) => {
        const late = () => settle(id, new RealtimeError("timeout", true, id));
        all.set(id, { resolve, reject, timer: timeoutMs && clock.setTimeout(late, timeoutMs) });
      });
      promise.catch(() => {});
      return promise;
    },
    answer(frame) {
      const { id = "" } = frame;
      if (!all.get(id)?.timer) return;
      settle(id, frame.type === "error" ? new RealtimeError(frame.code ?? "internal", frame.retryable, id, frame.error) : frame);
    },
    lost() {
      for (const [id, { timer }] of all) if (timer) settle(id, new RealtimeError("connection_lost", true, id));
    },
  };
}

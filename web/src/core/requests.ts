/** Promises for answers that are still to come, by request id. Knows no connection. */

import { RealtimeError } from "../codes";
import type { Clock } from "./environment";
import type { ServerFrame } from "./frames";

interface Pending {
  readonly promise: Promise<any>;
  readonly settle: (outcome: any) => void;
  /** Zero for what outlives a connection: queued interactions. */
  readonly timer: unknown;
}

/** The requests of one client. */
export interface Requests {
  /**
   * The promise for the answer to `id`, the same however often it is asked for. Ignoring a
   * rejection is allowed. `timeoutMs` 0: it waits for as long as it takes.
   */
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
    pending.settle(outcome instanceof RealtimeError ? Promise.reject(outcome) : outcome);
  }

  return {
    settle,
    expect<F>(id: string, timeoutMs: number): Promise<F> {
      const known = all.get(id);
      if (known) return known.promise;
      const late = () => settle(id, new RealtimeError("timeout", true, id));
      let resolve: (outcome: any) => void;
      const promise = new Promise<F>((done) => (resolve = done));
      all.set(id, {
        promise,
        settle: resolve!,
        timer: timeoutMs && clock.setTimeout(late, timeoutMs),
      });
      promise.catch(() => {});
      return promise;
    },
    answer(frame) {
      const { id = "" } = frame;
      if (!all.get(id)?.timer) return;
      settle(
        id,
        frame.type === "error"
          ? new RealtimeError(frame.code ?? "internal", frame.retryable, id, frame.error)
          : frame,
      );
    },
    lost() {
      for (const [id, { timer }] of all)
        if (timer) settle(id, new RealtimeError("connection_lost", true, id));
    },
  };
}

/** Promises for answers that are still to come, by request id. Knows no connection. */

import { RealtimeError } from "../codes";
import type { Clock } from "./environment";
import type { ServerFrame } from "./frames";

interface Pending {
  readonly resolve: (frame: any) => void;
  readonly reject: (error: RealtimeError) => void;
  /** Null for what outlives a connection: queued interactions. */
  readonly timer: unknown;
}

export class Requests {
  readonly #pending = new Map<string, Pending>();

  constructor(private readonly clock: Clock) {}

  /** A promise for the answer to `id`. Ignoring a rejection is allowed. `timeoutMs` null: it waits for as long as it takes. */
  expect<F>(id: string, timeoutMs: number | null): Promise<F> {
    const promise = new Promise<F>((resolve, reject) => {
      const late = () => this.settle(id, new RealtimeError("timeout", true, id));
      this.#pending.set(id, { resolve, reject, timer: timeoutMs && this.clock.setTimeout(late, timeoutMs) });
    });
    promise.catch(() => {});
    return promise;
  }

  /** Keep the promise, or break it with an error. */
  settle(id: string, outcome: ServerFrame | RealtimeError): void {
    const pending = this.#pending.get(id);
    if (!pending) return;
    this.#pending.delete(id);
    this.clock.clearTimeout(pending.timer);
    if (outcome instanceof RealtimeError) pending.reject(outcome);
    else pending.resolve(outcome);
  }

  /** Settle the request this frame answers, if it answers one. */
  answer(frame: ServerFrame): void {
    const { id = "" } = frame;
    if (!this.#pending.get(id)?.timer) return;
    this.settle(id, frame.type === "error" ? new RealtimeError(frame.code ?? "internal", frame.retryable, id, frame.error) : frame);
  }

  /** The connection is gone, and with it every answer that was on its way. */
  lost(): void {
    for (const [id, { timer }] of this.#pending) if (timer) this.settle(id, new RealtimeError("connection_lost", true, id));
  }
}

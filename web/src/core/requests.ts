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
      const late = () => this.reject(id, new RealtimeError("timeout", true, id));
      this.#pending.set(id, { resolve, reject, timer: timeoutMs === null ? null : this.clock.setTimeout(late, timeoutMs) });
    });
    promise.catch(() => {});
    return promise;
  }

  resolve(id: string, frame: ServerFrame): void {
    this.#take(id)?.resolve(frame);
  }

  reject(id: string, error: RealtimeError): void {
    this.#take(id)?.reject(error);
  }

  /** Settle the request this frame answers, if it answers one. */
  answer(frame: ServerFrame): void {
    const pending = frame.id === undefined ? undefined : this.#pending.get(frame.id);
    if (!pending || pending.timer === null) return;
    if (frame.type !== "error") return this.resolve(frame.id!, frame);
    this.reject(frame.id!, new RealtimeError(frame.code ?? "internal", frame.retryable, frame.id, frame.error));
  }

  /** The connection is gone, and with it every answer that was on its way. */
  lost(): void {
    for (const [id, { timer }] of this.#pending) {
      if (timer !== null) this.reject(id, new RealtimeError("connection_lost", true, id));
    }
  }

  #take(id: string): Pending | undefined {
    const pending = this.#pending.get(id);
    this.#pending.delete(id);
    if (pending && pending.timer !== null) this.clock.clearTimeout(pending.timer);
    return pending;
  }
}

/**
 * One transition in the making: the state so far, and the effects collected. Changes nothing
 * outside itself.
 */

import { RealtimeError } from "../../codes";
import { backoff } from "../backoff";
import type { ClientFrame } from "../frames";
import type { Config, Effect, Notice, State, TimerName } from "./types";

export class Step {
  readonly effects: Effect[] = [];

  constructor(
    public state: State,
    /** Milliseconds since 1970. */
    readonly now: number,
    /** Uniform in [0, 1), drawn for this transition. */
    readonly random: number,
    readonly config: Config,
  ) {}

  set(patch: Partial<State>): void {
    this.state = { ...this.state, ...patch };
  }

  do(effect: Effect): void {
    this.effects.push(effect);
  }

  /**
   * (Re)start a named timer. One that fires when it is not needed any more is harmless: every
   * handler looks at the state.
   */
  after(name: TimerName, ms: number): void {
    this.do({ do: "timer", name, ms: Math.min(ms, 2 ** 31 - 1) });
  }

  notify(notice: Notice): void {
    this.do({ do: "notify", notice });
  }

  error(error: RealtimeError): void {
    this.notify({ kind: "error", error });
  }

  /** Send on the current socket, at the cost of one frame of the budget. */
  send(frame: ClientFrame): void {
    this.set({ budget: this.state.budget - 1 });
    this.do({ do: "send", frame });
  }

  /** A request id not used before in this client. */
  nextId(prefix: string): string {
    this.set({ serial: this.state.serial + 1 });
    return prefix + this.state.serial;
  }

  backoff(attempt: number): number {
    return backoff(attempt, this.random, this.config.minDelayMs, this.config.maxDelayMs);
  }
}

/** A copy of a map with one entry changed, or removed when the value is null. */
export function withEntry<V>(
  map: ReadonlyMap<string, V>,
  key: string,
  value: V | null,
): ReadonlyMap<string, V> {
  const copy = new Map(map);
  if (value === null) copy.delete(key);
  else copy.set(key, value);
  return copy;
}

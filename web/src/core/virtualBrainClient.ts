/**
 * The guide's `virtualBrainClient`: observe learners from anywhere, without holding a connection.
 */

import type { RealtimeClient } from "./client";
import type { CognitiveState, ContentAdaptedFrame, VirtualBrainResponseFrame } from "./frames";
import { guarded } from "./guarded";

type Listener<V> = (value: V) => void;

/** Listeners by learner. */
class Topic<V> {
  readonly #listeners = new Map<string, Set<Listener<V>>>();

  add(learnerId: string, listener: Listener<V>): () => void {
    const own = (value: V) => listener(value);
    const listeners = this.#listeners.get(learnerId) ?? new Set();
    this.#listeners.set(learnerId, listeners.add(own));
    return () => {
      listeners.delete(own);
      if (listeners.size === 0 && this.#listeners.get(learnerId) === listeners)
        this.#listeners.delete(learnerId);
    };
  }

  tell(learnerId: string, value: V): void {
    for (const listener of [...(this.#listeners.get(learnerId) ?? [])])
      guarded(() => listener(value));
  }
}

/** Passes on what attached clients receive. */
export class VirtualBrainClient {
  readonly #states = new Topic<CognitiveState>();
  readonly #responses = new Topic<VirtualBrainResponseFrame>();
  readonly #adaptations = new Topic<ContentAdaptedFrame>();

  /**
   * Be called with each newer state of a learner that some client subscribes to. Returns how to
   * stop.
   */
  onStateUpdate(learnerId: string, callback: (state: CognitiveState) => void): () => void {
    return this.#states.add(learnerId, callback);
  }

  /**
   * Be called with each answer to an interaction of this learner sent from this page. Returns how
   * to stop.
   */
  onResponse(
    learnerId: string,
    callback: (response: VirtualBrainResponseFrame) => void,
  ): () => void {
    return this.#responses.add(learnerId, callback);
  }

  /** Be called with content adapted for this learner. Returns how to stop. */
  onAdaptation(learnerId: string, callback: (adaptation: ContentAdaptedFrame) => void): () => void {
    return this.#adaptations.add(learnerId, callback);
  }

  /**
   * Pass on what this client receives; `WebSocketProvider` and `useWebSocket` do it. Returns how to
   * stop.
   */
  attach(client: RealtimeClient): () => void {
    const stops = [
      client.on("state", ({ update }) => this.#states.tell(update.learner_id, update.state)),
      client.on("frame", ({ frame }) => {
        if (frame.type === "virtual_brain_response") this.#responses.tell(frame.learner_id, frame);
        else if (frame.type === "content_adapted") this.#adaptations.tell(frame.learner_id, frame);
      }),
    ];
    return () => stops.forEach((stop) => stop());
  }
}

/** The one everybody shares. */
export const virtualBrainClient: VirtualBrainClient = /* @__PURE__ */ new VirtualBrainClient();

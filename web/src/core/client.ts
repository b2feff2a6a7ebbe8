/**
 * The client: does the effects the machine asks for, and is the door through which an application
 * talks to it.
 */

import { RealtimeError } from "../codes";
import { browserEnvironment, type Environment } from "./environment";
import type {
  AdaptationRequest,
  ClientFrame,
  ContentAdaptedFrame,
  ServerFrame,
  StateResponseFrame,
  VirtualBrainInteraction,
  VirtualBrainResponseFrame,
} from "./frames";
import { guarded } from "./guarded";
import { parseLoosely, type Parsed } from "./parse";
import { userOf, uuidv7Maker } from "./ids";
import { reduce } from "./machine/reduce";
import {
  defaultConfig,
  initialState,
  type Config,
  type Effect,
  type Event,
  type LearnerView,
  type Notice,
  type State,
  type SubscribeOptions,
  type TimerName,
  type Wish,
} from "./machine/types";
import { wishOf } from "./machine/wishes";
import { makeRequests, type Requests } from "./requests";
import { snapshotOf, type ClientSnapshot } from "./snapshot";
import { makeSockets, type Sockets } from "./sockets";
import { loadItems, removeItem, saveItem, type StorageLike } from "./storage";

/** How a client is made. Only `url` and one of `token` and `getToken` are needed. */
export interface ClientOptions {
  /** The endpoint, such as `wss://school.example/ws`. The token is never put into it. */
  url: string;
  /** A token that does not change; prefer `getToken`, which can renew it. */
  token?: string | null | undefined;
  /** Gives a valid token; asked before every attempt and shortly before the current one expires. */
  getToken?: (() => string | null | undefined | Promise<string | null | undefined>) | undefined;
  /**
   * Who is logged in. Needed only for tokens that are not JWTs, to keep interactions given before
   * the first connection.
   */
  userId?: string | undefined;
  /** Whether to reconnect; default true. */
  reconnect?: boolean | undefined;
  /**
   * Least wait before an attempt in milliseconds; default 500. The wait grows from there, jittered,
   * up to 20 s.
   */
  reconnectInterval?: number | undefined;
  /** Attempts in a row before giving up; default endless. */
  maxReconnectAttempts?: number | undefined;
  /** Whether waiting interactions survive a closed page; default true. */
  enableOfflineQueue?: boolean | undefined;
  /** Largest frame the server takes, in bytes; default 64 KiB. */
  maxFrameBytes?: number | undefined;
  /**
   * Reads received text. Default: only what the client itself relies on is checked.
   * `parseServerFrame` checks every field; the React binding uses it.
   */
  parse?: ((data: unknown) => Parsed) | undefined;
  /** Other constants of the machine. */
  config?: Partial<Config> | undefined;
  /** Replacements for parts of the browser; for tests and other runtimes. */
  environment?: Partial<Environment> | undefined;
}

/** A sent interaction. It is safe to ignore. */
export interface SentInteraction {
  readonly interaction_id: string;
  /**
   * Resolves when the server has committed it, however often the connection breaks until then.
   * Rejects with a `RealtimeError` when it is refused for good, too big, expired, cleared, or
   * the queue is full.
   */
  readonly acknowledged: Promise<VirtualBrainResponseFrame>;
}

type NoticeOf<K extends Notice["kind"]> = Extract<Notice, { kind: K }>;

/** A connection to the realtime server. Making one does nothing; `connect()` does. */
export class RealtimeClient {
  #state: State;
  #snapshot: ClientSnapshot;
  readonly #config: Config;
  readonly #environment: Environment;
  readonly #options: ClientOptions;
  readonly #events: Event[] = [];
  #running = false;
  readonly #timers = new Map<TimerName, unknown>();
  readonly #stores = new Set<() => void>();
  readonly #listeners = new Map<Notice["kind"], Set<(notice: any) => void>>();
  readonly #requests: Requests;
  readonly #sockets: Sockets;
  readonly #nextId: () => string;
  #unwatch: (() => void) | null = null;
  #storageWarned = false;

  constructor(options: ClientOptions) {
    this.#options = options;
    this.#config = {
      ...defaultConfig,
      reconnect: options.reconnect ?? true,
      maxAttempts: options.maxReconnectAttempts ?? Infinity,
      minDelayMs: options.reconnectInterval ?? defaultConfig.minDelayMs,
      ...options.config,
    };
    this.#environment = { ...browserEnvironment(), ...options.environment };
    if (options.enableOfflineQueue === false)
      this.#environment = { ...this.#environment, storage: null };
    this.#state = initialState(options.userId ?? userOf(options.token));
    this.#snapshot = snapshotOf(this.#state, null);
    this.#requests = makeRequests(this.#environment.clock);
    this.#sockets = makeSockets(
      options.url,
      this.#environment,
      options.parse ?? parseLoosely,
      (event) => this.#dispatch(event),
    );
    this.#nextId = uuidv7Maker(this.#environment.clock.now, this.#environment.randomise);
  }

  /** Connect, and stay connected until `disconnect()`. Harmless when connected already. */
  connect(): void {
    this.#unwatch ??= this.#environment.watch((type) => this.#dispatch({ type }));
    if (this.#state.user !== null) this.#load(this.#state.user);
    this.#dispatch({ type: "connect" });
  }

  /**
   * Close the connection and stay closed. Subscriptions and waiting interactions are kept for the
   * next `connect()`.
   */
  disconnect(): void {
    this.#unwatch?.();
    this.#unwatch = null;
    this.#dispatch({ type: "disconnect" });
  }

  /**
   * Say that `getToken` gives another token now: it replaces the current one, without reconnecting
   * if the user is the same.
   */
  tokenChanged(): void {
    this.#dispatch({ type: "token_changed" });
  }

  /**
   * Watch a learner, through every reconnect, until the returned function (or
   * `unsubscribeLearner`) is called as often as this one was. Works at any time, also before
   * `connect()`.
   */
  subscribeLearner(learnerId: string, options: SubscribeOptions = {}): () => void {
    this.#dispatch({ type: "want", kind: "learner", key: learnerId, options });
    let watching = true;
    return () => {
      if (watching) this.unsubscribeLearner(learnerId);
      watching = false;
    };
  }

  /** Undo one `subscribeLearner`. */
  unsubscribeLearner(learnerId: string): void {
    this.#dispatch({ type: "unwant", kind: "learner", key: learnerId });
  }

  /** Be in a room, through every reconnect, until left as often as joined. */
  joinRoom(roomId: string): void {
    this.#dispatch({ type: "want", kind: "room", key: roomId });
  }

  /** Undo one `joinRoom`. */
  leaveRoom(roomId: string): void {
    this.#dispatch({ type: "unwant", kind: "room", key: roomId });
  }

  /**
   * Say something to the others in a room. Not queued: returns false when it could not be sent now.
   */
  sendRoomMessage(roomId: string, data: Record<string, unknown>): boolean {
    return this.send({ type: "room_message", room_id: roomId, data });
  }

  /**
   * Record an interaction. Taken at any time, connected or not; sent as soon as possible, counted
   * exactly once.
   */
  sendVirtualBrainInteraction(interaction: VirtualBrainInteraction): SentInteraction {
    const id = interaction.interaction_id ?? this.#nextId();
    const data = { ...interaction, interaction_id: id };
    const acknowledged = this.#requests.expect<VirtualBrainResponseFrame>(id, 0);
    const limit = (this.#options.maxFrameBytes ?? 65_536) - 256;
    if (new TextEncoder().encode(JSON.stringify(data)).length > limit) {
      this.#requests.settle(id, new RealtimeError("too_big", false, id));
    } else {
      const queuedAt = this.#environment.clock.now();
      this.#dispatch({ type: "interact", item: { data, queuedAt, user: null, sentAt: null } });
    }
    return { interaction_id: id, acknowledged };
  }

  /**
   * Ask for a learner's current state. Rejects when not connected, refused, or unanswered for 10 s.
   */
  getState(learnerId: string): Promise<StateResponseFrame> {
    return this.#request({ type: "get_state", learner_id: learnerId });
  }

  /** Ask for content that fits the learner's state. Rejects like `getState`. */
  adaptContent(request: AdaptationRequest): Promise<ContentAdaptedFrame> {
    return this.#request({ type: "adapt_content", data: request });
  }

  /**
   * Send a frame as it is; interactions go through the queue. Returns false when it could not be
   * sent now.
   */
  send(frame: ClientFrame): boolean {
    if (frame.type === "virtual_brain_interact") {
      this.sendVirtualBrainInteraction(frame.data);
      return true;
    }
    if (!this.#snapshot.isConnected) return false;
    this.#dispatch({ type: "send", frame });
    return true;
  }

  /**
   * Drop all waiting interactions, also from storage. They are lost: their promises reject with
   * `cleared`.
   */
  clearQueue(): void {
    this.#dispatch({ type: "queue_clear" });
  }

  /**
   * Be called when anything in the snapshot or in a learner's view may have changed. Returns how to
   * stop.
   */
  readonly subscribe = (listener: () => void): (() => void) => {
    this.#stores.add(listener);
    return () => this.#stores.delete(listener);
  };

  /** The connection as it is; the same object until something in it changes. */
  readonly getSnapshot = (): ClientSnapshot => this.#snapshot;

  /**
   * What is known of a learner; the same object until something in it changes. Undefined before
   * anything is known.
   */
  getLearner(learnerId: string): LearnerView | undefined {
    return this.#state.learners.get(learnerId);
  }

  /** Where a subscription stands; undefined when there is none. */
  subscriptionStatus(learnerId: string): Wish["status"] | undefined {
    return wishOf(this, "learner", learnerId)?.status;
  }

  /**
   * Everything the machine knows, token included: for `connectionQuality` and for tests, not for
   * logs.
   */
  get state(): State {
    return this.#state;
  }

  /**
   * The present by the server's clock, ms since 1970: what ages of states and updates count from. A
   * device's own clock may be wrong by hours. The same as the device's until the first connection.
   */
  get serverNow(): number {
    return this.#environment.clock.now() + this.#state.skewMs;
  }

  /** The clock the client runs on. */
  get clock(): Environment["clock"] {
    return this.#environment.clock;
  }

  /** Be told of something. A listener that throws disturbs nobody else. Returns how to stop. */
  on<K extends Notice["kind"]>(kind: K, listener: (notice: NoticeOf<K>) => void): () => void {
    const listeners = this.#listeners.get(kind) ?? new Set();
    this.#listeners.set(kind, listeners.add(listener));
    return () => listeners.delete(listener);
  }

  #request<F extends ServerFrame>(frame: ClientFrame): Promise<F> {
    const id = `r${this.#nextId()}`;
    const answer = this.#requests.expect<F>(id, 10_000);
    if (!this.send({ ...frame, id }))
      this.#requests.settle(id, new RealtimeError("not_connected", true, id));
    return answer;
  }

  /**
   * Feed the machine. Events that effects and listeners cause wait their turn, so that effects stay
   * in order.
   */
  #dispatch(event: Event): void {
    this.#events.push(event);
    if (this.#running) return;
    this.#running = true;
    try {
      for (let next; (next = this.#events.shift());) {
        const { clock, random } = this.#environment;
        const { state, effects } = reduce(this.#state, next, clock.now(), random(), this.#config);
        const before = this.#state;
        this.#state = state;
        this.#snapshot = snapshotOf(state, this.#snapshot);
        for (const effect of effects) this.#perform(effect);
        if (before !== state) for (const store of [...this.#stores]) guarded(store);
      }
    } finally {
      this.#running = false;
    }
  }

  #perform(effect: Effect): void {
    const { clock } = this.#environment;
    switch (effect.do) {
      case "get_token":
        return void this.#getToken(effect.request);
      case "open":
        return this.#sockets.open(effect.socket);
      case "close":
        return this.#sockets.close(effect.code);
      case "send":
        return this.#sockets.send(effect.frame);
      case "timer": {
        clock.clearTimeout(this.#timers.get(effect.name));
        const fire = () => this.#dispatch({ type: "timer", name: effect.name });
        this.#timers.set(effect.name, clock.setTimeout(fire, effect.ms));
        return;
      }
      case "cancel_timers":
        return this.#timers.forEach((timer) => clock.clearTimeout(timer));
      case "save":
        return this.#store((storage) => saveItem(storage, effect.item));
      case "remove":
        return this.#store((storage) => removeItem(storage, effect.item));
      case "load":
        return this.#load(effect.user);
      case "notify":
        return this.#notify(effect.notice);
    }
  }

  async #getToken(request: number): Promise<void> {
    const { getToken, token: fixed, userId } = this.#options;
    let token: string | null | undefined;
    try {
      token = getToken ? await getToken() : fixed;
    } catch {
      // What getToken threw may quote the request it made, credentials included: it goes no
      // further.
    }
    this.#dispatch({ type: "token", request, token: token || null, user: userId ?? userOf(token) });
  }

  #load(user: string): void {
    this.#store((storage) =>
      this.#dispatch({ type: "queue_loaded", user, items: loadItems(storage, user) }),
    );
  }

  #store(access: (storage: StorageLike) => void): void {
    const { storage } = this.#environment;
    try {
      if (storage) access(storage);
    } catch {
      if (this.#storageWarned) return;
      this.#storageWarned = true;
      this.#notify({ kind: "error", error: new RealtimeError("not_persisted") });
    }
  }

  #notify(notice: Notice): void {
    if ("id" in notice)
      this.#requests.settle(notice.id, "error" in notice ? notice.error : notice.response);
    else if (notice.kind === "frame") this.#requests.answer(notice.frame);
    else if (notice.kind === "close") this.#requests.lost();
    for (const listener of [...(this.#listeners.get(notice.kind) ?? [])])
      guarded(() => listener(notice));
  }
}

/**
 * Doubles of the world outside: a clock that is advanced by hand, a network of fake servers, a
 * storage. The fake server speaks the protocol well enough to test a client: it remembers what
 * it committed, per interaction id, and who watches whom.
 *
 * To extend: replace a hook (`server.onFrame = (socket, frame) => …`, return true to say it was
 * handled), or use `socket.push(frame)` to send anything at any time. `server.received` is the
 * log of all frames, `server.sockets` of all sockets ever opened.
 */

import {
  RealtimeClient,
  type ClientFrame,
  type ClientOptions,
  type Attention,
  type CognitiveState,
  type Meaning,
  type Environment,
  type StorageLike,
} from "@aivo/realtime";

export const startTime = Date.parse("2026-03-02T08:00:00.000Z");

export class FakeClock {
  #now = startTime;
  #serial = 0;
  readonly #timers = new Map<number, { readonly at: number; readonly run: () => void }>();

  now = (): number => this.#now;
  setTimeout = (run: () => void, ms: number): number => {
    this.#timers.set(++this.#serial, { at: this.#now + ms, run });
    return this.#serial;
  };
  clearTimeout = (id: unknown): void => void this.#timers.delete(id as number);
  /** Timers that are set. */
  get pending(): number {
    return this.#timers.size;
  }

  /** Let time pass: timers fire in order, promises settle in between. */
  async advance(ms: number): Promise<void> {
    const end = this.#now + ms;
    await settle();
    for (;;) {
      const [next] = [...this.#timers]
        .filter(([, { at }]) => at <= end)
        .sort(([a, x], [b, y]) => x.at - y.at || a - b);
      if (!next) break;
      this.#timers.delete(next[0]);
      this.#now = Math.max(this.#now, next[1].at);
      next[1].run();
      await settle();
    }
    this.#now = end;
  }
}

/** Let every promise that can settle do so. */
export async function settle(): Promise<void> {
  for (let turn = 0; turn < 20; turn++) await Promise.resolve();
}

export class FakeStorage implements StorageLike {
  readonly items = new Map<string, string>();
  full = false;
  get length(): number {
    return this.items.size;
  }
  key = (index: number): string | null => [...this.items.keys()][index] ?? null;
  getItem = (key: string): string | null => this.items.get(key) ?? null;
  setItem = (key: string, value: string): void => {
    if (this.full) throw new DOMException("full", "QuotaExceededError");
    this.items.set(key, value);
  };
  removeItem = (key: string): void => void this.items.delete(key);
}

/** The server's end and the client's end of one socket. */
export class FakeSocket {
  onopen: ((event: unknown) => void) | null = null;
  onmessage: ((event: { data: unknown }) => void) | null = null;
  onclose: ((event: { code: number; reason: string }) => void) | null = null;
  onerror: ((event: unknown) => void) | null = null;
  readonly received: ClientFrame[] = [];
  state: "connecting" | "open" | "closed" = "connecting";
  /** The code the client closed with, if it did. */
  closedByClient: number | null = null;
  readonly watching = new Set<string>();

  constructor(
    readonly url: string,
    readonly server: FakeServer,
  ) {
    server.sockets.push(this);
    queueMicrotask(() => {
      if (this.state !== "connecting") return;
      if (server.refuses) return this.drop(1006);
      if (server.hangs) return;
      this.state = "open";
      this.onopen?.({});
    });
  }

  send(data: string): void {
    if (this.state === "connecting")
      throw new DOMException("still connecting", "InvalidStateError");
    if (this.state === "closed") return;
    const frame = JSON.parse(data) as ClientFrame;
    this.received.push(frame);
    this.server.received.push(frame);
    if (!this.server.silent) queueMicrotask(() => this.server.handle(this, frame));
  }

  close(code = 1005): void {
    this.closedByClient ??= code;
    this.drop(code);
  }

  /** Close from the server's side, or from the network's (1006). */
  drop(code: number, reason = ""): void {
    if (this.state === "closed") return;
    this.state = "closed";
    this.onclose?.({ code, reason });
  }

  push(frame: { type: string; [field: string]: unknown }): void {
    if (this.state === "open")
      this.onmessage?.({ data: JSON.stringify({ timestamp: this.server.timestamp(), ...frame }) });
  }

  pushRaw(data: unknown): void {
    this.onmessage?.({ data });
  }
}

export function levelsAt(value: number): CognitiveState {
  return {
    cognitive_load: value,
    engagement_level: value,
    frustration_level: value,
    fatigue_level: value,
    confidence_level: value,
    motivation_level: value,
  };
}

interface FakeLearner {
  epoch: string;
  revision: number;
  state: CognitiveState | null;
}

export class FakeServer {
  readonly sockets: FakeSocket[] = [];
  readonly received: ClientFrame[] = [];
  /**
   * Interactions committed, by id: how often each moved a learner (must never exceed 1) and in
   * which order they came.
   */
  readonly committed: string[] = [];
  readonly learners = new Map<string, FakeLearner>();
  /** Connections fail at once. */
  refuses = false;
  /** Connections never open. */
  hangs = false;
  /** Nothing is answered; frames arrive. */
  silent = false;
  /** The next this many interactions are committed, and their answers lost. */
  swallowAnswers = 0;
  tokenLifetimeMs = 3_600_000;
  validTokens: Set<string> | null = null;
  userOfToken = (_token: string): string => "u1";
  /** Server clock minus the client's. */
  clockOffsetMs = 0;
  onFrame: (socket: FakeSocket, frame: ClientFrame) => boolean | void = () => {};

  constructor(readonly clock: FakeClock) {}

  get socket(): FakeSocket {
    return this.sockets.at(-1)!;
  }
  get open(): FakeSocket[] {
    return this.sockets.filter((socket) => socket.state === "open");
  }
  timestamp(offset = 0): string {
    return new Date(this.clock.now() + this.clockOffsetMs + offset).toISOString();
  }
  of<T extends ClientFrame["type"]>(
    type: T,
    frames = this.received,
  ): Extract<ClientFrame, { type: T }>[] {
    return frames.filter(
      (frame): frame is Extract<ClientFrame, { type: T }> => frame.type === type,
    );
  }
  learner(id: string): FakeLearner {
    const learner = this.learners.get(id) ?? { epoch: "e1", revision: 0, state: null };
    this.learners.set(id, learner);
    return learner;
  }
  /** Move a learner and tell the watchers. */
  move(id: string, value: number, extra: Record<string, unknown> = {}): void {
    const learner = this.learner(id);
    learner.revision += 1;
    learner.state = levelsAt(value);
    for (const socket of this.open)
      if (socket.watching.has(id))
        socket.push({ type: "state_update", learner_id: id, ...learner, coalesced: 0, ...extra });
  }

  handle(socket: FakeSocket, frame: ClientFrame): void {
    if (socket.state !== "open" || this.onFrame(socket, frame)) return;
    const id = frame.id;
    switch (frame.type) {
      case "authenticate": {
        if (this.validTokens && !this.validTokens.has(frame.token)) {
          socket.push({
            type: "error",
            id,
            error: "The token is not valid.",
            code: "unauthenticated",
            retryable: false,
          });
          return socket.drop(4401);
        }
        const expires_at = this.timestamp(this.tokenLifetimeMs);
        const first = this.of("authenticate", socket.received).length === 1;
        const user = { id: this.userOfToken(frame.token), role: "teacher" };
        if (first)
          socket.push({
            type: "connection_established",
            connection_id: `c${this.sockets.length}`,
            user,
            expires_at,
            heartbeat_ms: 25_000,
            limits: {},
          });
        else socket.push({ type: "authenticated", id, expires_at });
        return;
      }
      case "subscribe_learner": {
        socket.watching.add(frame.learner_id);
        const learner = this.learner(frame.learner_id);
        const recovered = frame.resume?.epoch === learner.epoch;
        return socket.push({
          type: "subscribed",
          id,
          learner_id: frame.learner_id,
          success: true,
          recovered,
          missed: 0,
          ...learner,
        });
      }
      case "unsubscribe_learner":
        socket.watching.delete(frame.learner_id);
        return socket.push({ type: "unsubscribed", id, learner_id: frame.learner_id });
      case "virtual_brain_interact": {
        const { learner_id, interaction_id } = frame.data;
        const duplicate = this.committed.includes(interaction_id!);
        if (!duplicate) {
          this.committed.push(interaction_id!);
          this.move(learner_id, 0.5);
        }
        if (this.swallowAnswers > 0) return void this.swallowAnswers--;
        const { state, revision } = this.learner(learner_id);
        return socket.push({
          type: "virtual_brain_response",
          id,
          learner_id,
          interaction_id,
          revision,
          duplicate,
          result: { success: true, state, recommendations: ["Keep going."] },
        });
      }
      case "get_state":
        return socket.push({
          type: "state_response",
          id,
          learner_id: frame.learner_id,
          ...this.learner(frame.learner_id),
          performance: {
            accuracy: 0.8,
            response_time: 12.5,
            consistency: 0.7,
            improvement_rate: 0.05,
          },
        });
      case "join_room":
        return socket.push({
          type: "room_joined",
          id,
          room_id: frame.room_id,
          connection_id: "c1",
          members: [{ connection_id: "c1", user: { id: "u1" } }],
        });
      case "leave_room":
        return socket.push({ type: "room_left", id, room_id: frame.room_id });
      case "ping":
        return socket.push({ type: "pong", id, sent_at: frame.sent_at });
    }
  }
}

/** An unsigned token of a user, as much of a JWT as the client reads. */
export function jwt(sub: string, n = 0): string {
  return `x.${btoa(JSON.stringify({ sub, n })).replace(/=+$/, "")}.y`;
}

/**
 * A client in a fake world. `random` is fixed, so that waits are known; pass a function for others.
 */
export function world(options: Partial<ClientOptions> = {}, outside: Partial<Environment> = {}) {
  const clock = new FakeClock();
  const server = new FakeServer(clock);
  const storage = new FakeStorage();
  let tell: (event: "online" | "offline" | "visible") => void = () => {};
  const environment: Environment = {
    WebSocket: class extends FakeSocket {
      constructor(url: string) {
        super(url, server);
      }
    },
    clock,
    random: () => 0.5,
    randomise: (words) => crypto.getRandomValues(words),
    storage,
    watch: (listener) => {
      tell = listener;
      return () => {
        tell = () => {};
      };
    },
    ...outside,
  };
  const make = (more: Partial<ClientOptions> = {}) =>
    new RealtimeClient({ url: "ws://test/ws", token: jwt("u1"), environment, ...options, ...more });
  return {
    clock,
    server,
    storage,
    environment,
    make,
    client: make(),
    tell: (event: Parameters<typeof tell>[0]) => tell(event),
  };
}

export const answer = (learner_id = "l1", content = "2+2?") =>
  ({
    learner_id,
    type: "question_response",
    content,
    response: "4",
    context: { correct: true, difficulty: 2 },
  }) as const;

/** What the levels mean for a learner: all as usual but for what is given. */
export function meaningOf(
  bands: Partial<Meaning["bands"]> = {},
  attention: Partial<Attention> = {},
): Meaning {
  const all = <T>(value: T) => ({
    cognitive_load: value,
    engagement_level: value,
    frustration_level: value,
    fatigue_level: value,
    confidence_level: value,
    motivation_level: value,
  });
  return {
    bands: { ...all("as_usual" as const), ...bands },
    usual: levelsAt(0.5),
    spread: levelsAt(0.1),
    deviation: levelsAt(0),
    attention: { level: "none", code: "", reason: "", since: "", ...attention },
  };
}

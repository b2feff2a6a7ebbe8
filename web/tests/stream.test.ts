/** The stream of figures: how events are read, and when and how fast it is asked for again. */

import { afterEach, beforeEach, describe, expect, it, vi } from "vitest";
import { eventData, follow } from "../src/page/frame/stream";

const bytes = (text: string) => new TextEncoder().encode(text);

describe("events", () => {
  const read = async (...chunks: Uint8Array[]) => {
    const body = new ReadableStream<Uint8Array>({
      start(stream) {
        for (const chunk of chunks) stream.enqueue(chunk);
        stream.close();
      },
    });
    const found: string[] = [];
    for await (const data of eventData(body)) found.push(data);
    return found;
  };

  it("are the same wherever the network cuts them, in the middle of a letter too", async () => {
    const text = 'data: {"name":"Zoë 🎓"}\n\ndata: 2\n\n';
    const whole = bytes(text);
    for (let cut = 0; cut <= whole.length; cut += 1) {
      expect(await read(whole.slice(0, cut), whole.slice(cut))).toEqual(['{"name":"Zoë 🎓"}', "2"]);
    }
  });

  it("are their data alone, and only when they are whole", async () => {
    expect(
      await read(bytes(": hello\n\nid: 1\ndata:a\ndata: b\n\nevent: x\n\ndata: cut off\n")),
    ).toEqual(["a\nb"]);
  });
});

describe("following", () => {
  /** One connection of the server's. */
  class Connection {
    readonly signal: AbortSignal;
    readonly at = Date.now();
    readonly response: Response;
    #stream!: ReadableStreamDefaultController<Uint8Array>;
    constructor(signal: AbortSignal) {
      this.signal = signal;
      this.response = new Response(
        new ReadableStream<Uint8Array>({ start: (stream) => void (this.#stream = stream) }),
      );
      signal.addEventListener("abort", () => this.#stream.error(signal.reason));
    }
    async send(value: unknown) {
      this.#stream.enqueue(bytes(`data: ${JSON.stringify(value)}\n\n`));
      await vi.advanceTimersByTimeAsync(0);
    }
    async end() {
      this.#stream.close();
      await vi.advanceTimersByTimeAsync(0);
    }
  }

  let connections: Connection[] = [];
  let told: unknown[] = [];
  let refuse = false;
  let stop: AbortController;

  beforeEach(async () => {
    vi.useFakeTimers();
    vi.spyOn(Math, "random").mockReturnValue(0.999);
    connections = [];
    told = [];
    refuse = false;
    stop = new AbortController();
    const open = async (signal: AbortSignal) => {
      connections.push(new Connection(signal));
      if (refuse) throw new TypeError("Failed to fetch");
      return connections.at(-1)!.response;
    };
    void follow(open, (value) => told.push(value), stop.signal);
    await vi.advanceTimersByTimeAsync(0);
  });

  afterEach(() => {
    stop.abort();
    vi.useRealTimers();
    vi.restoreAllMocks();
  });

  it("tells each value as it comes, over one connection", async () => {
    await connections[0]!.send({ n: 1 });
    await connections[0]!.send({ n: 2 });
    await vi.advanceTimersByTimeAsync(9_000);

    expect(told).toEqual([{ n: 1 }, { n: 2 }]);
    expect(connections).toHaveLength(1);
  });

  it("takes up again a stream that the server ended, and does not call that a failure", async () => {
    await connections[0]!.send(1);
    await connections[0]!.end();
    await vi.advanceTimersByTimeAsync(1_000);
    await connections[1]!.send(2);

    expect(told).toEqual([1, 2]);
  });

  it("says that values cannot be had, and comes back ever more slowly, then at once again after a value", async () => {
    await connections[0]!.send(1);
    refuse = true;
    await connections[0]!.end();
    await vi.advanceTimersByTimeAsync(120_000);
    const waits = connections.slice(1).map(({ at }, i) => at - connections[i]!.at);
    expect(told.slice(0, 3)).toEqual([1, null, null]);
    expect(waits.slice(0, 7)).toEqual([1_000, 1_999, 3_997, 7_993, 15_985, 19_981, 19_981]);

    refuse = false;
    await vi.advanceTimersByTimeAsync(20_000);
    const last = connections.length;
    await connections.at(-1)!.send(2);
    await connections.at(-1)!.end();
    await vi.advanceTimersByTimeAsync(1_000);

    expect(told.at(-1)).toBe(2);
    expect(connections).toHaveLength(last + 1);
  });

  it("takes a stream that ends without a value for a failure", async () => {
    await connections[0]!.end();

    expect(told).toEqual([null]);
  });

  it("gives up a connection that has fallen silent, and asks for another", async () => {
    await connections[0]!.send(1);
    await vi.advanceTimersByTimeAsync(10_000);
    expect(connections[0]!.signal.aborted).toBe(true);
    expect(told).toEqual([1, null]);
    await vi.advanceTimersByTimeAsync(1_000);
    await connections[1]!.send(2);

    expect(told).toEqual([1, null, 2]);
  });

  it.each(["while values come", "while it waits"])(
    "stops when told to %s, and says no more",
    async (when) => {
      await connections[0]!.send(1);
      if (when === "while it waits") await connections[0]!.end();
      stop.abort();
      await vi.advanceTimersByTimeAsync(60_000);

      expect(told).toEqual([1]);
      expect(connections).toHaveLength(1);
      expect(connections[0]!.signal.aborted).toBe(when === "while values come");
      expect(vi.getTimerCount()).toBe(0);
    },
  );
});

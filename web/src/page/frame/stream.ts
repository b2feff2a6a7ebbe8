/**
 * Values that the server sends as server-sent events, over `fetch`, because `EventSource` cannot
 * send a token. Knows no component.
 */

import { backoff } from "../../core/backoff";

/** After so long without a value the connection counts as dead; values come every two seconds. */
const silenceMs = 10_000;

/**
 * The data of each event of a `text/event-stream`, as it comes; other fields, and an event that was
 * cut off, are left out.
 */
export async function* eventData(body: ReadableStream<Uint8Array>): AsyncGenerator<string, void> {
  const reader = body
    .pipeThrough(new TextDecoderStream() as ReadableWritablePair<string, Uint8Array>)
    .getReader();
  let rest = "";
  try {
    for (;;) {
      const { value, done } = await reader.read();
      if (done) return;
      const events = (rest + value).split("\n\n");
      rest = events.pop()!;
      for (const event of events) {
        const lines = event.split("\n").filter((line) => line.startsWith("data:"));
        if (lines.length > 0) yield lines.map((line) => line.slice(5).replace(/^ /, "")).join("\n");
      }
    }
  } finally {
    await reader.cancel().catch(() => {});
  }
}

/**
 * Follow a stream of JSON values until `signal`: when it ends, breaks or falls silent, it is
 * asked for again after a jittered wait that grows while nothing comes. `told` gets each value,
 * and null when one cannot be had at the moment.
 */
export async function follow<T>(
  open: (signal: AbortSignal) => Promise<Response>,
  told: (value: T | null) => void,
  signal: AbortSignal,
): Promise<void> {
  for (let attempt = 0; !signal.aborted; attempt += 1) {
    const connection = new AbortController();
    const drop = () => connection.abort();
    signal.addEventListener("abort", drop);
    let silence = setTimeout(drop, silenceMs);
    try {
      const response = await open(connection.signal);
      let heard = false;
      for await (const data of eventData(response.body!)) {
        if (signal.aborted) return;
        clearTimeout(silence);
        silence = setTimeout(drop, silenceMs);
        told(JSON.parse(data) as T);
        heard = true;
        attempt = 0;
      }
      // The server ends each stream at times, with the token if nothing else: that is no failure
      // until it is not taken up again.
      if (!heard) throw new Error("The stream was empty.");
    } catch {
      if (!signal.aborted) told(null);
    } finally {
      clearTimeout(silence);
      signal.removeEventListener("abort", drop);
    }
    await passed(backoff(attempt, Math.random(), 500, 20_000), signal);
  }
}

/** Resolves after so long, or with `signal`. */
function passed(ms: number, signal: AbortSignal): Promise<void> {
  return new Promise((resolve) => {
    if (signal.aborted) return resolve();
    const done = () => {
      clearTimeout(timer);
      signal.removeEventListener("abort", done);
      resolve();
    };
    const timer = setTimeout(done, ms);
    signal.addEventListener("abort", done);
  });
}

/** Identifiers: time-ordered ones for interactions, and whose a token is. */

/**
 * A maker of UUIDv7 (RFC 9562 §5.7): 48 bits of milliseconds, then 12 bits that count within one millisecond, then 62 random
 * bits. Ids of one maker grow even when the clock stands still or steps back.
 */
export function uuidv7Maker(now: () => number, randomise: (words: Uint16Array<ArrayBuffer>) => void): () => string {
  const hex = (value: number, digits = 4) => value.toString(16).padStart(digits, "0");
  let last = 0;
  let count = 0;
  return () => {
    const time = Math.floor(now());
    if (time > last) [last, count] = [time, 0];
    else if (++count > 0xfff) [last, count] = [last + 1, 0];
    const words = new Uint16Array(4);
    randomise(words);
    const [a, b, c, d] = words as unknown as [number, number, number, number];
    const head = hex(last, 12);
    return `${head.slice(0, 8)}-${head.slice(8)}-${hex(0x7000 | count)}-${hex(0x8000 | (a & 0x3fff))}-${hex(b)}${hex(c)}${hex(d)}`;
  };
}

/** The `sub` of a JWT, unverified (it only labels the local queue), or null when the token is not a readable JWT. */
export function userOf(token: string): string | null {
  try {
    const payload = token.split(".")[1]!.replace(/-/g, "+").replace(/_/g, "/");
    const { sub } = JSON.parse(atob(payload)) as { sub?: unknown };
    return typeof sub === "string" && sub !== "" ? sub : null;
  } catch {
    return null;
  }
}

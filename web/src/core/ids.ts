/** Identifiers: time-ordered ones for interactions, and whose a token is. */

/**
 * A maker of UUIDv7 (RFC 9562 §5.7): 48 bits of milliseconds, then 12 bits that count within one millisecond, then 62 random
 * bits. Ids of one maker grow even when the clock stands still or steps back.
 */
export function uuidv7Maker(now: () => number, randomBytes: (bytes: Uint8Array<ArrayBuffer>) => void): () => string {
  let last = 0;
  let count = 0;
  return () => {
    const time = Math.floor(now());
    if (time > last) [last, count] = [time, 0];
    else if (++count > 0xfff) [last, count] = [last + 1, 0];
    const bytes = new Uint8Array(8);
    randomBytes(bytes);
    bytes[0] = 0x80 | (bytes[0]! & 0x3f);
    const tail = [...bytes].map((byte) => byte.toString(16).padStart(2, "0")).join("");
    const head = last.toString(16).padStart(12, "0");
    return `${head.slice(0, 8)}-${head.slice(8)}-7${count.toString(16).padStart(3, "0")}-${tail.slice(0, 4)}-${tail.slice(4)}`;
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

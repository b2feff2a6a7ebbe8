/** Identifiers: time-ordered ones for interactions, and whose a token is. */

/**
 * A maker of UUIDv7 (RFC 9562 §5.7): 48 bits of milliseconds, then 72 random ones. Each id takes
 * a later millisecond than the one before, so that ids of one maker grow even when the clock
 * stands still or steps back.
 */
export function uuidv7Maker(
  now: () => number,
  randomise: (words: Uint16Array<ArrayBuffer>) => void,
): () => string {
  let last = 0;
  return () => {
    last = Math.max(last + 1, Math.floor(now()));
    const words = new Uint16Array(5);
    randomise(words);
    const hex = [last, ...words]
      .map((part, index) => part.toString(16).padStart(index ? 4 : 12, "0"))
      .join("");
    return hex.replace(/(.{8})(.{4}).(.{3}).(.{3})/, "$1-$2-7$3-8$4-");
  };
}

/**
 * The `sub` of a JWT, unverified (it only labels the local queue), or null when the token is not a
 * readable JWT.
 */
export function userOf(token: string | null | undefined): string | null {
  try {
    const payload = token!.split(".")[1]!.replace(/-/g, "+").replace(/_/g, "/");
    const { sub } = JSON.parse(atob(payload)) as { sub?: unknown };
    return sub ? `${sub as string}` : null;
  } catch {
    return null;
  }
}

/** How long to wait before the next attempt. Knows only numbers. */

/**
 * Full jitter ("Exponential Backoff And Jitter", AWS Architecture Blog, 2015) above a floor:
 * uniform between `minMs` and a ceiling that doubles with every failed attempt up to `maxMs`, so
 * that a thousand clients which lost the same server do not come back together.
 *
 * @param attempt failed attempts in a row so far, ≥ 0
 * @param random uniform in [0, 1)
 */
export function backoff(attempt: number, random: number, minMs: number, maxMs: number): number {
  const ceiling = Math.max(minMs, Math.min(maxMs, minMs * 2 ** (attempt + 1)));
  return Math.round(minMs + random * (ceiling - minMs));
}

/** Where a chart puts things. */

import fc from "fast-check";
import { describe, expect, it } from "vitest";
import {
  countTicks,
  nearest,
  pathOf,
  thinned,
  timeRange,
  timeTicks,
  type Point,
} from "../src/page/parts/axis";

describe("a chart's range of time", () => {
  const at = 1_790_000_000;

  it("has at least five minutes, also around a single answer", () => {
    for (const last of [at, at + 1, at + 299]) {
      const [from, to] = timeRange(at, last, at);
      expect(to - from).toBe(300);
      expect(from).toBeLessThanOrEqual(at);
      expect(to).toBeGreaterThanOrEqual(last);
    }
  });

  it("is that of the answers once they take longer", () => {
    expect(timeRange(at, at + 4_000, at)).toEqual([at, at + 4_000]);
  });

  it("is now while there is none", () => {
    expect(timeRange(null, null, at)).toEqual([at - 240, at + 60]);
  });
});

describe("a chart's moments", () => {
  const morning = new Date(2026, 2, 27, 8, 3).getTime() / 1_000;

  it.each([
    [300, "08:04"],
    [5_400, "08:15"],
    [30_000, "10:00"],
    [28 * 86_400, "3 Apr"],
  ])("of %i seconds have round names", (span, second) => {
    const labels = timeTicks([morning, morning + span], 8, "en-GB").map(({ label }) => label);
    expect(labels).toContain(second);
  });

  it("are few, inside the range, and days begin at midnight, also when clocks change", () => {
    fc.assert(
      fc.property(
        fc.integer({ min: 1_700_000_000, max: 1_900_000_000 }),
        fc.integer({ min: 300, max: 90 * 86_400 }),
        fc.integer({ min: 2, max: 12 }),
        (from, span, most) => {
          const ticks = timeTicks([from, from + span], most);
          expect(ticks.length).toBeLessThanOrEqual(most + 1);
          for (const { at } of ticks) {
            expect(at).toBeGreaterThanOrEqual(from);
            expect(at).toBeLessThanOrEqual(from + span);
            if (span > most * 86_400) expect(new Date(at * 1_000).getHours()).toBe(0);
          }
        },
      ),
    );
  });

  it("are found by pointing near them", () => {
    fc.assert(
      fc.property(
        fc.uniqueArray(fc.integer({ min: 0, max: 1_000 }), { minLength: 1 }),
        fc.integer({ min: -10, max: 1_010 }),
        (some, at) => {
          const times = [...some].sort((a, b) => a - b);
          const best = Math.min(...times.map((one) => Math.abs(one - at)));
          expect(Math.abs(times[nearest(times, at)!]! - at)).toBe(best);
        },
      ),
    );
    expect(nearest([], 1)).toBeNull();
  });

  it.each([
    [0, [0, 0.25, 0.5, 0.75, 1]],
    [3, [0, 1, 2, 3, 4]],
    [17, [0, 5, 10, 15, 20]],
    [950, [0, 250, 500, 750, 1_000]],
  ])("count up to %i in round steps", (greatest, ticks) => {
    expect(countTicks(greatest)).toEqual(ticks);
  });
});

describe("a chart's line", () => {
  it("has no more points than there are columns to see them in, and the same mean", () => {
    const points: Point[] = Array.from({ length: 5_000 }, (_, i) => [i / 50, (i * 7) % 10]);
    const drawn = thinned(points, 100);

    expect(drawn).toHaveLength(100);
    const mean = drawn.reduce((sum, point) => sum + point![1], 0) / drawn.length;
    expect(mean).toBeCloseTo(4.5);
  });

  it("stays broken where it was", () => {
    const points: Point[] = Array.from({ length: 300 }, (_, i) => (i === 150 ? null : [i, 1]));
    expect(thinned(points, 10).filter((point) => point === null)).toHaveLength(1);
    expect(pathOf([[0, 1], null, [2, 3], [4, 5]])).toBe("M0.0,1.0h0M2.0,3.0h0L4.0,5.0");
  });
});

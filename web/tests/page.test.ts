/** The page's own rules: what it says in words, who comes first, what a quiz asks, where one is. */

import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { makeTask, nextDifficulty, readAnswer, skills } from "../src/page/practice/quiz";
import { href, routeOf, type Route } from "../src/page/frame/routes";
import { ageInWords, nameOfId, signed, streakInWords } from "../src/page/parts/words";

it("a run of answers is told from two wrong or three right, hints in between or not", () => {
  const answers = (...marks: (boolean | undefined)[]) =>
    marks.map((correct) => ({ type: "any", context: { correct } }));

  expect(streakInWords(answers(true, false, undefined, false))).toBe("Two wrong in a row.");
  expect(streakInWords(answers(true, true, true))).toBe("Three right in a row.");
  expect(streakInWords(answers(...Array.from({ length: 12 }, () => true)))).toBe(
    "12 right in a row.",
  );
  expect(streakInWords(answers(true, false))).toBe(null);
  expect(streakInWords([])).toBe(null);
});

describe("the quiz", () => {
  const anyTask = fc.record({
    skill: fc.constantFrom(...skills),
    difficulty: fc.integer({ min: 1, max: 5 }),
    seed: fc.array(fc.double({ min: 0, max: 0.999999, noNaN: true }), {
      minLength: 6,
      maxLength: 6,
    }),
  });
  const taskOf = ({
    skill,
    difficulty,
    seed,
  }: {
    skill: (typeof skills)[number];
    difficulty: number;
    seed: number[];
  }) => {
    let i = 0;
    return makeTask(skill, difficulty, () => seed[i++ % seed.length]!);
  };

  it("asks what has a whole answer that a learner can type", () => {
    fc.assert(
      fc.property(anyTask, (one) => {
        const { answer } = taskOf(one);
        expect(Number.isInteger(answer)).toBe(true);
        expect(readAnswer(String(answer))).toBe(answer);
      }),
    );
  });

  it("names a task by what it asks, as the server takes ids", () => {
    fc.assert(
      fc.property(anyTask, (one) => {
        const task = taskOf(one);
        expect(taskOf(one).itemId).toBe(task.itemId);
        expect(task.itemId.length).toBeLessThan(128);
      }),
    );
  });

  it("reads numbers as people write them, and nothing else", () => {
    expect([" 12 ", "-3", "1,5", "2.5"].map(readAnswer)).toEqual([12, -3, 1.5, 2.5]);
    expect(["", "x", "1e5", "0x10", "1 2"].map(readAnswer)).toEqual([null, null, null, null, null]);
  });

  it("gets harder or easier as advised, else easier after a mistake, within 1 to 5", () => {
    expect(nextDifficulty(3, false, [{ code: "harder" }])).toBe(4);
    expect(nextDifficulty(3, true, [{ code: "take_break" }, { code: "scaffold" }])).toBe(2);
    expect(nextDifficulty(3, false)).toBe(2);
    expect(nextDifficulty(1, false)).toBe(1);
    expect(nextDifficulty(5, true, [{ code: "harder" }])).toBe(5);
  });
});

describe("places", () => {
  it("survive being an address", () => {
    fc.assert(
      fc.property(fc.string({ minLength: 1 }), (id) => {
        for (const route of [
          { name: "learner", id },
          { name: "rooms", id },
        ] as const satisfies Route[])
          expect(routeOf(href(route))).toEqual(route);
      }),
    );
  });

  it("lead home when they do not exist", () => {
    for (const hash of ["", "#", "#/", "#/nowhere", "#/learner", "#/learner/%E0%A4%A"])
      expect(routeOf(hash)).toEqual({ name: "home" });
  });
});

describe("figures in words", () => {
  it("grow coarser with age", () => {
    const minute = 60_000;
    expect(
      [-5_000, 3_000, 45_000, 5 * minute, 180 * minute, 1_500 * minute, 4_000 * minute].map(
        ageInWords,
      ),
    ).toEqual([
      "just now",
      "just now",
      "40 s ago",
      "5 min ago",
      "3 h ago",
      "1 day ago",
      "2 days ago",
    ]);
  });

  it("carry their sign", () => {
    expect([0.041, -0.03, 0.004, -0.004].map(signed)).toEqual(["+4", "−3", "±0", "±0"]);
  });

  it("turn ids into names", () => {
    expect(["demo-class-5a", "fractions", "--"].map(nameOfId)).toEqual([
      "Demo class 5a",
      "Fractions",
      "--",
    ]);
  });
});

/** A learner's own page: what it says encourages, is easily read, and shames nobody. */

import { readFileSync } from "node:fs";
import { resolve } from "node:path";
import fc from "fast-check";
import { describe, expect, it } from "vitest";
import {
  grownSkills,
  masteriesOf,
  morningOf,
  nextStep,
  wentWell,
} from "../src/page/practice/encourage";
import { makeTask, skills } from "../src/page/practice/quiz";
import { praises, skillNames, steps, texts } from "../src/page/practice/words";
import { gradeLevel, longestSentence, longWords, shaming, syllables } from "./readability";

type Said = string | ((value: never) => string);
const spoken = (said: Said): readonly string[] =>
  typeof said === "string"
    ? [said]
    : [1, 3, 12, ...Object.values(skillNames)].map((value) => said(value as never));
/** Whatever the page can say to a child. */
const everything = [texts, praises, steps].flatMap((table) =>
  Object.values(table as Record<string, Said>).flatMap(spoken),
);
const sentences = everything.filter((text) => text.includes("."));

describe("what the page says to a child", () => {
  it.each(sentences)("%s – is read in the third year of school", (text) => {
    expect(gradeLevel(text)).toBeLessThanOrEqual(3);
    expect(longestSentence(text)).toBeLessThanOrEqual(10);
  });

  it("has no long words, no numbers about the child, and nothing that shames", () => {
    expect(everything.flatMap((text) => longWords(text, 3))).toEqual([]);
    expect(everything.filter((text) => shaming.test(text))).toEqual([]);
  });

  it("names every skill that it asks, and has a step for every advice of the server", () => {
    expect(Object.keys(skillNames).sort()).toEqual([...skills].sort());
    const model = readFileSync(
      resolve(import.meta.dirname, "../../brain_service/model/recommend.py"),
      "utf8",
    );
    const codes = new Set(
      [...model.matchAll(/Advice\(\s*\d+,\s*"(\w+)"/g)].map(([, code]) => code!),
    );
    // Those two say that all is well.
    const silent = ["target_zone", "keep_watch"];
    expect(codes.size).toBeGreaterThan(5);
    for (const code of codes)
      expect(nextStep([{ code }]) === steps.go_on, code).toBe(silent.includes(code));
  });

  it("shames nobody in a hint either", () => {
    fc.assert(
      fc.property(
        fc.constantFrom(...skills),
        fc.integer({ min: 1, max: 5 }),
        fc.double({ min: 0, max: 0.999, noNaN: true }),
        (skill, difficulty, seed) => {
          const { hints } = makeTask(skill, difficulty, () => seed);
          for (const hint of hints) expect(hint.replace(/\d+ %/g, "")).not.toMatch(shaming);
        },
      ),
    );
  });
});

describe("the measure itself", () => {
  it.each([
    ["task", 1],
    ["percentages", 4],
    ["solved", 1],
    ["parts", 1],
    ["better", 2],
    ["teacher", 2],
    ["little", 2],
    ["answer", 2],
    ["the", 1],
  ])("counts the parts of %s", (word, count) => {
    expect(syllables(word)).toBe(count);
  });

  it("finds adults' sentences hard, and unkind ones unkind", () => {
    const server = "Difficulty exceeds the present ability; consider additional scaffolding.";
    expect(gradeLevel(server)).toBeGreaterThan(10);
    for (const text of ["That is wrong.", "Cognitive load 86 %", "You are slower than others."])
      expect(text).toMatch(shaming);
  });
});

describe("what went well", () => {
  const given = (...what: readonly ("right" | "wrong" | "hint")[]) =>
    what.map((one, i) => ({ what: one, question: `${Math.floor(i / 2)}` }));

  it.each([
    [[], []],
    [["wrong"], [praises.trying]],
    [
      ["wrong", "right"],
      [praises.came_back, praises.solved_one],
    ],
    [
      ["hint", "right"],
      [praises.hint_helped, praises.solved_one],
    ],
    [
      ["right", "right", "right"],
      [praises.streak(3), praises.solved(3)],
    ],
    [["hint", "wrong", "hint", "wrong"], [praises.trying]],
  ] as const)("after %j is %j", (what, said) => {
    expect(wentWell(given(...what), [])).toEqual(said);
  });

  it("is never nothing once something was tried, and never more than three things", () => {
    fc.assert(
      fc.property(
        fc.array(fc.constantFrom("right" as const, "wrong" as const, "hint" as const), {
          minLength: 1,
        }),
        fc.subarray([...skills]),
        (what, grown) => {
          const said = wentWell(given(...what), grown);
          expect(said.length).toBeGreaterThan(0);
          expect(said.length).toBeLessThanOrEqual(3);
        },
      ),
    );
  });

  it("tells of skills that grew since the morning, and of none that shrank", () => {
    const morning = { addition: 0.5, fractions: 0.5, equations: 0.5 };
    const now = { addition: 0.53, fractions: 0.4, equations: 0.6, roots: 0.9 };
    expect(grownSkills(morning, now)).toEqual(["equations", "addition"]);
    expect(wentWell(given("wrong"), ["equations"])).toEqual([praises.grown("finding x")]);
  });

  it("is counted from the first that was known of a skill on this day", () => {
    const kept = JSON.stringify(morningOf(null, "Mon", { addition: 0.5 }));
    expect(morningOf(kept, "Mon", { addition: 0.6, roots: 0.2 }).masteries).toEqual({
      addition: 0.5,
      roots: 0.2,
    });
    expect(morningOf(kept, "Tue", { addition: 0.6 }).masteries).toEqual({ addition: 0.6 });
    expect(morningOf("nonsense", "Tue", { addition: 0.6 }).masteries).toEqual({ addition: 0.6 });
  });
});

it("one next step is the first advice that is for a child", () => {
  expect(nextStep([{ code: "unheard_of" }, { code: "take_break" }])).toBe(steps.take_break);
  expect(nextStep([])).toBe(steps.go_on);
  expect(masteriesOf({ a: 0.5, b: { probability: 0.7, answers: 3, standard_error: 0.1 } })).toEqual(
    {
      a: 0.5,
      b: 0.7,
    },
  );
});

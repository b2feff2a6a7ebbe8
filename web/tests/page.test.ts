/** The page's own rules: what it says in words, who comes first, what a quiz asks, where one is. */

import type { CognitiveState, Drivers, LearnerView } from "@aivo/realtime";
import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { makeTask, nextDifficulty, readAnswer, skills } from "../src/page/practice/quiz";
import { href, routeOf, type Route } from "../src/page/frame/routes";
import { awayMs, classesOf, groupOf, headline, triage } from "../src/page/class/triage";
import {
  ageInWords,
  driversInWords,
  nameOfId,
  signed,
  streakInWords,
  summaryOf,
} from "../src/page/parts/words";

const calm: CognitiveState = {
  cognitive_load: 0.5,
  engagement_level: 0.7,
  frustration_level: 0.3,
  fatigue_level: 0.2,
  confidence_level: 0.6,
  motivation_level: 0.6,
};
const now = Date.parse("2026-03-02T10:00:00Z");

function view(urgency: string, state: Partial<CognitiveState> = {}, ageMs = 1_000): LearnerView {
  const at = new Date(now - ageMs).toISOString();
  const whole = { ...calm, ...state };
  return {
    learnerId: "l",
    state: whole,
    epoch: "e",
    revision: 1,
    updatedAt: now,
    detailsRevision: 1,
    update: {
      type: "state_update",
      learner_id: "l",
      state: whole,
      timestamp: new Date(now).toISOString(),
      occurred_at: at,
    },
    details: { actions: [{ code: "any", urgency }] },
  };
}

it("classes go by the name that the school gave them, in the order people expect", () => {
  const learner = (class_names: Record<string, string>, ...class_ids: string[]) => ({
    learner_id: "l",
    display_name: "L",
    class_ids,
    class_names,
  });
  const classes = classesOf([
    learner({ x: "Class 10a", y: "Class 9b" }, "x", "y", "no-name"),
    learner({ x: "Class 10a" }, "x"),
  ]);

  expect(classes).toEqual([
    { id: "y", name: "Class 9b" },
    { id: "x", name: "Class 10a" },
    { id: "no-name", name: "No name" },
  ]);
});

describe("drivers in words", () => {
  it("name what moved a level most, by the direction in which it did", () => {
    const drivers = {
      frustration_level: { err: 0.12, declared: -0.05, help: 0.001 },
      confidence_level: { err: -0.1, slow: 0.02 },
    };

    expect(driversInWords("frustration_level", drivers)).toEqual(["recent mistakes", "easy tasks"]);
    expect(driversInWords("confidence_level", drivers)).toEqual([
      "recent mistakes",
      "quicker than usual",
    ]);
  });

  it("leave out what is unknown, too small or not a number", () => {
    const odd = {
      fatigue_level: { clipped: -0.2, tank: "much", load: 0.004 },
    } as unknown as Drivers;
    expect(driversInWords("fatigue_level", odd)).toEqual([]);
    expect(driversInWords("fatigue_level", undefined)).toEqual([]);
  });

  it("speak of a run of answers, hints in between notwithstanding", () => {
    const answers = (...marks: (boolean | undefined)[]) =>
      marks.map((correct) => ({ type: "any", context: { correct } }));

    expect(streakInWords(answers(true, false, undefined, false))).toBe("two wrong in a row");
    expect(streakInWords(answers(true, true, true))).toBe("three right in a row");
    expect(streakInWords(answers(true, false))).toBe(null);
    expect(streakInWords([])).toBe(null);
  });

  it("make one sentence that does not contradict itself", () => {
    const wrong = [false, false].map((correct) => ({ type: "any", context: { correct } }));
    const drivers = {
      frustration_level: { err: 0.1 },
      cognitive_load: { slow: 0.05, err: 0.04 },
      engagement_level: { slow: 0.05 },
    };

    expect(summaryOf(wrong, drivers)).toBe("Two wrong in a row, slower than usual.");
    expect(summaryOf([], {})).toBe(null);
  });
});

describe("the class", () => {
  it("is sorted by the server's urgency", () => {
    expect(["high", "medium", "low", "none"].map((urgency) => groupOf(view(urgency), now))).toEqual(
      ["now", "soon", "fine", "fine"],
    );
  });

  it("has a level that stands out looked at, whatever the advice", () => {
    expect(groupOf(view("none", { cognitive_load: 0.9 }), now)).toBe("soon");
    expect(groupOf(view("none", { engagement_level: 0.2 }), now)).toBe("soon");
  });

  it("does not call for help for those who have left, and knows those who never came", () => {
    expect(groupOf(view("high", {}, awayMs + 1), now)).toBe("away");
    expect(groupOf(undefined, now)).toBe("new");
  });

  it.each([
    [0, 0, "Nobody needs help right now."],
    [0, 1, "One learner is worth a look."],
    [0, 5, "5 learners are worth a look."],
    [1, 0, "One learner needs help now."],
    [1, 1, "One learner needs help now; one is worth a look."],
    [3, 2, "3 learners need help now; 2 are worth a look."],
  ])(
    "with %i in need of help and %i worth a look says so, and never that nobody is",
    (now, soon, sentence) => {
      expect(headline(now, soon)).toBe(sentence);
    },
  );

  it("keeps everybody, once", () => {
    const learners = ["c", "a", "b"].map((id) => ({
      learner_id: id,
      display_name: id,
      class_ids: [],
      class_names: {},
    }));
    const sorted = triage(learners, [view("none"), view("none"), undefined], now);

    expect([...sorted.values()].flat().map(({ learner }) => learner.learner_id)).toEqual([
      "a",
      "c",
      "b",
    ]);
  });
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

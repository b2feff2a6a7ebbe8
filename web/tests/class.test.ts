/** The class view's own rules: who comes first, what stands still, what is told of each. */

import type { LearnerView } from "@aivo/realtime";
import fc from "fast-check";
import { describe, expect, it } from "vitest";
import {
  emptyCourse,
  lineOf,
  sessionGapMs,
  spentInWords,
  withPast,
  withView,
  type Brief,
} from "../src/page/class/course";
import { skillTable, stepOf, teachAgain, type Mastery } from "../src/page/class/skills";
import { steady } from "../src/page/class/steady";
import {
  awayMs,
  classesOf,
  groupOf,
  headline,
  keptFrom,
  named,
  triage,
} from "../src/page/class/triage";
import { bandsInWords, unusual } from "../src/page/parts/bands";
import { levels, toneOfBand } from "@aivo/realtime/react";
import { levelsAt, meaningOf } from "./fakes";

const now = Date.parse("2026-03-02T10:00:00Z");
const minute = 60_000;

function view(
  more: Partial<LearnerView["details"]> = {},
  ageMs = 1_000,
  revision = 1,
): LearnerView {
  const at = new Date(now - ageMs).toISOString();
  return {
    learnerId: "l",
    state: levelsAt(0.5),
    epoch: "e",
    revision,
    updatedAt: now,
    detailsRevision: revision,
    update: {
      type: "state_update",
      learner_id: "l",
      state: levelsAt(0.5),
      timestamp: new Date(now).toISOString(),
      occurred_at: at,
    },
    details: more,
  };
}
const judged = (level: "now" | "look" | "none", since = "", reason = "") =>
  view({ meaning: meaningOf({}, { level, since, reason }), recommendations: ["Go on."] });
const learner = (name: string) => ({
  learner_id: name.toLowerCase(),
  display_name: name,
  class_ids: [],
  class_names: {},
});

it("classes go by the name that the school gave them, in the order people expect", () => {
  const enrolled = (class_names: Record<string, string>, ...class_ids: string[]) => ({
    learner_id: "l",
    display_name: "L",
    class_ids,
    class_names,
  });
  const classes = classesOf([
    enrolled({ x: "Class 10a", y: "Class 9b" }, "x", "y", "no-name"),
    enrolled({ x: "Class 10a" }, "x"),
  ]);

  expect(classes).toEqual([
    { id: "y", name: "Class 9b" },
    { id: "x", name: "Class 10a" },
    { id: "no-name", name: "No name" },
  ]);
});

describe("the class", () => {
  it("leaves the place of who stays there the same object, so that rows stay undrawn", () => {
    const [mia, tom] = [learner("Mia"), learner("Tom")];
    const [one, other] = [judged("none"), judged("none")];
    const before = triage([mia, tom], [one, other], now);
    const after = keptFrom(before, triage([mia, tom], [one, judged("none")], now + 5_000));
    expect([after[0] === before[0], after[1] === before[1]]).toEqual([true, false]);
    const later = keptFrom(after, triage([mia, tom], [one, other], now + awayMs + minute));
    expect(later.map(({ group }) => group)).toEqual(["away", "away"]);
  });

  it("says why nobody is called where much is worse than usual", () => {
    const reason = "Not as well as usual, but likely to manage the next tasks.";
    const [place] = triage([learner("Mia")], [judged("none", "", reason)], now);
    expect([place!.group, place!.reason]).toEqual(["fine", reason]);
    const old = view({ meaning: meaningOf({}, { level: "none", reason }) }, awayMs + minute);
    expect(triage([learner("Mia")], [old], now)[0]!.reason).toBe("");
  });

  it("is grouped by the server's attention, whatever the levels and the advice say", () => {
    expect((["now", "look", "none"] as const).map((level) => groupOf(judged(level), now))).toEqual([
      "now",
      "look",
      "fine",
    ]);
    const calm = view({
      meaning: meaningOf({ frustration_level: "much_higher" }),
      actions: [{ code: "scaffold", urgency: "high" }],
    });
    expect(groupOf(calm, now)).toBe("fine");
  });

  it("goes by the urgency of the advice where a server does not judge yet", () => {
    expect(
      ["high", "medium", "low", "none"].map((urgency) =>
        groupOf(view({ actions: [{ code: "any", urgency }] }), now),
      ),
    ).toEqual(["now", "look", "fine", "fine"]);
  });

  it("does not call for help for those who have left, and knows those who never came", () => {
    expect(groupOf({ ...judged("now"), update: view({}, awayMs + 1).update }, now)).toBe("away");
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
    (urgent, look, sentence) => {
      expect(headline(urgent, look)).toBe(sentence);
    },
  );

  it("shows first who needs help, of them who waits longest, the others by name", () => {
    const names = ["Zoe", "Ada", "Ben", "Cleo", "Dan", "Eve"];
    const views = [
      judged("now", "2026-03-02T09:50:00.000Z", "Stuck."),
      judged("now", "2026-03-02T09:58:00.000Z", "Stuck."),
      judged("none"),
      judged("look", "2026-03-02T09:59:00.000Z", "Slower."),
      undefined,
      judged("none"),
    ];
    const places = triage(names.map(learner), views, now);

    expect(places.map((place) => place.learner.display_name)).toEqual([
      "Zoe",
      "Ada",
      "Cleo",
      "Ben",
      "Eve",
      "Dan",
    ]);
    expect(places.map(({ reason }) => reason)).toEqual([
      "Stuck.",
      "Stuck.",
      "Slower.",
      "Go on.",
      "Go on.",
      "",
    ]);
  });

  it("says nothing of those with whom all is well", () => {
    const well = view({
      actions: [{ code: "target_zone", urgency: "none" }],
      recommendations: ["Keep going."],
    });
    expect(triage([learner("Ada")], [well], now)[0]!.reason).toBe("");
    const away = { ...judged("now", "", "Stuck."), update: view({}, awayMs + 1).update };
    expect(triage([learner("Ada")], [away], now)[0]!.reason).toBe("");
  });

  it.each([
    ["", ["Zoë Ørsted", "Ada Lovelace", "Adam West"]],
    ["  ad ", ["Ada Lovelace", "Adam West"]],
    ["love ada", ["Ada Lovelace"]],
    ["zoe", ["Zoë Ørsted"]],
    ["nobody", []],
  ])("finds %j by name", (typed, found) => {
    const all = ["Zoë Ørsted", "Ada Lovelace", "Adam West"].map(learner);
    expect(named(all, typed).map(({ display_name }) => display_name)).toEqual(found);
  });
});

describe("a list that is held", () => {
  const ids = fc.uniqueArray(fc.constantFrom(..."abcdefgh"));

  it("moves nobody: who stays keeps their place among the others, newcomers come last", () => {
    fc.assert(
      fc.property(ids, ids, (shown, wanted) => {
        const { order, waiting } = steady(shown, wanted, true);
        expect([...order].sort()).toEqual([...wanted].sort());
        const stayed = shown.filter((id) => wanted.includes(id));
        expect(order.slice(0, stayed.length)).toEqual(stayed);
        expect(waiting).toBe(order.filter((id, i) => id !== wanted[i]).length);
      }),
    );
  });

  it("is sorted as soon as it is let go", () => {
    expect(steady(["a", "b"], ["b", "a"], true)).toEqual({ order: ["a", "b"], waiting: 2 });
    expect(steady(["a", "b"], ["b", "a"], false)).toEqual({ order: ["b", "a"], waiting: 0 });
  });
});

describe("the last minutes of a learner", () => {
  const entry = (revision: number, agoMs: number, accuracy = 0.5): Brief => ({
    revision,
    type: "practice",
    occurred_at: new Date(now - agoMs).toISOString(),
    correct: true,
    accuracy,
  });

  it("begin after the last long pause", () => {
    const entries = [entry(7, 3 * 60 * minute), entry(8, 40 * minute), entry(9, 12 * minute)];
    const course = withPast(emptyCourse, "e", entries, false);

    expect(course).toMatchObject({ began: now - 40 * minute, isWhole: true });
    expect(spentInWords(course, now - 12 * minute)).toBe("28 min");
  });

  it("are told as more than what was loaded, until the beginning is", () => {
    const recent = withPast(
      emptyCourse,
      "e",
      [entry(8, 70 * minute), entry(9, 50 * minute)],
      false,
    );
    expect(spentInWords(recent, now)).toBe("over 1 h 10 min");
    const whole = withPast(recent, "e", [entry(1, 90 * minute)], true);
    expect(spentInWords(whole, now)).toBe("1 h 30 min");
  });

  it("grow with each newer state, once, and begin anew after a pause and in another history", () => {
    const performance = { accuracy: 0.7, response_time: 4, consistency: 1, improvement_rate: 0 };
    const past = withPast(emptyCourse, "e", [entry(8, sessionGapMs + 2_000)], true);
    const next = withView(past, view({ performance }, 1_000, 9));
    expect(next).toMatchObject({ began: now - 1_000, isWhole: true });
    expect(withView(next, view({ performance }, 500, 9))).toBe(next);
    const replaced = withView(next, { ...view({ performance }, 0, 2), epoch: "f" });
    expect(replaced.moments.map(({ revision }) => revision)).toEqual([2]);
  });

  it("are drawn with now at the right, 20 minutes wide, right answers up", () => {
    const entries = [entry(1, 25 * minute, 0), entry(2, 10 * minute, 0.25), entry(3, 0, 1)];
    expect(lineOf(withPast(emptyCourse, "e", entries, true), now)).toEqual([
      [50, 15],
      [100, 0],
    ]);
  });
});

describe("levels in a row", () => {
  it("name what is not as usual, what weighs most first", () => {
    const { bands } = meaningOf({
      confidence_level: "higher",
      frustration_level: "much_higher",
      engagement_level: "lower",
    });
    expect(unusual(bands)).toEqual(["frustration_level", "engagement_level", "confidence_level"]);
    expect(bandsInWords(bands, undefined)).toBe(
      "Frustration much higher, engagement lower, confidence higher than usual.",
    );
    expect(bandsInWords(meaningOf().bands, undefined)).toBe("Everything as usual.");
  });

  it("say that it is too early, with the server's sentence", () => {
    const early = { code: "new_learner", needs: 4, sentence: "Four more answers are needed." };
    expect(bandsInWords(meaningOf().bands, early)).toBe("Four more answers are needed.");
  });

  it.each([
    ["frustration_level", "much_higher", "alert"],
    ["frustration_level", "higher", "notice"],
    ["frustration_level", "much_lower", "calm"],
    ["engagement_level", "much_lower", "alert"],
    ["engagement_level", "much_higher", "calm"],
    ["fatigue_level", "too_early", "calm"],
    ["fatigue_level", "as_usual", "calm"],
  ] as const)("colour %s %s as %s", (key, band, tone) => {
    expect(
      toneOfBand(
        levels.find((level) => level.key === key)!,
        band,
      ),
    ).toBe(tone);
  });
});

describe("what a class has mastered", () => {
  const sure = (probability: number) => ({ probability, answers: 5, standard_error: 0.1 });
  const vague = (probability: number) => ({ probability, answers: 2, standard_error: 0.3 });
  const class4 = ["Dan", "Ada", "Ben", "Cleo"].map(learner);
  const table = skillTable(
    class4,
    new Map<string, Mastery>([
      ["ada", { fractions: sure(0.4), sums: sure(0.9) }],
      ["ben", { fractions: sure(0.5), sums: sure(0.8), roots: sure(0.1) }],
      ["cleo", { fractions: sure(0.9), sums: vague(0.1) }],
      ["dan", null],
    ]),
  );

  it("has the weakest skill first, and who is furthest behind first; few answers don't count", () => {
    expect(table.columns).toEqual([
      { skill: "roots", mean: 0.1, learners: 1, behind: ["Ben"] },
      { skill: "fractions", mean: expect.closeTo(0.6), learners: 3, behind: ["Ada", "Ben"] },
      { skill: "sums", mean: expect.closeTo(0.85), learners: 2, behind: [] },
    ]);
    expect(table.rows.map(({ learner: one }) => one.display_name)).toEqual([
      "Ada",
      "Ben",
      "Cleo",
      "Dan",
    ]);
    expect(table.rows[2]!.cells).toEqual([
      null,
      { probability: 0.9, answers: 5, isVague: false },
      { probability: 0.1, answers: 2, isVague: true },
    ]);
  });

  it("says what to teach again: what several have not mastered, not what one has not", () => {
    expect(teachAgain(table).map(({ skill }) => skill)).toEqual(["fractions"]);
  });

  it.each([
    [0, 0],
    [0.39, 0],
    [0.4, 1],
    [0.55, 2],
    [0.69, 2],
    [0.7, 3],
    [0.85, 4],
    [1, 4],
  ])("colours %f in step %i", (probability, step) => {
    expect(stepOf(probability)).toBe(step);
  });
});

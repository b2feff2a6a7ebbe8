/** A learner's past: what is asked for, which part is shown, and what is behind a number. */

import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { behind, masteryOver } from "../src/page/learner/behind";
import { nextQuestion, withPage, type Entry, type Page, type Past } from "../src/page/learner/past";
import {
  rangeOf,
  sessionsOf,
  sessionTable,
  sinceOf,
  tableOf,
  within,
} from "../src/page/learner/spans";
import { levelsAt } from "./fakes";

const now = new Date(2026, 2, 12, 15, 0).getTime();
const minute = 60_000;
const day = 86_400_000;

function entry(revision: number, agoMs: number, more: Partial<Entry> = {}): Entry {
  return {
    revision,
    interaction_id: `i${revision}`,
    type: "question_response",
    content: "2 + 2",
    response: "4",
    context: { correct: true, skill: "sums" },
    occurred_at: new Date(now - agoMs).toISOString(),
    state: levelsAt(0.5),
    performance: { accuracy: 0.5, response_time: 4, consistency: 1, improvement_rate: 0 },
    mastery: {},
    ...more,
  };
}

describe("the past of a learner", () => {
  /** A server with so many entries, a minute apart, that sends at most `most` at once. */
  function server(count: number, most = 1_000) {
    const all = Array.from({ length: count }, (_, i) => entry(i + 1, (count - i) * minute));
    return (query: string): Page => {
      const asked = new URLSearchParams(query);
      const limit = Number(asked.get("limit"));
      const after = Number(asked.get("after") ?? 0);
      const found = asked.get("newest") ? all.slice(-limit) : all.slice(after, after + limit);
      const entries = asked.get("newest") ? found.slice(-most) : found.slice(0, most);
      return { epoch: "e", entries, has_more: false };
    };
  }

  function loaded(count: number, sinceMs: number | null, most?: number, first: Past | null = null) {
    const ask = server(count, most);
    let past = first;
    const questions: string[] = [];
    for (let turn = 0; turn < 200; turn += 1) {
      const question = nextQuestion(past, { epoch: "e", revision: count }, sinceMs);
      if (question === null) return { past: past!, questions };
      questions.push(question.query);
      past = withPage(past, question, ask(question.query));
    }
    throw new Error("It never ends.");
  }

  it("is loaded back to what is wanted and no further, without a gap, whatever fits a page", () => {
    fc.assert(
      fc.property(
        fc.integer({ min: 0, max: 3_000 }),
        fc.integer({ min: 1, max: 4_000 }),
        fc.integer({ min: 40, max: 1_000 }),
        (count, minutes, most) => {
          const { past } = loaded(count, now - minutes * minute, most);
          const revisions = past.entries.map(({ revision }) => revision);
          const first = Math.max(1, count - minutes + 1);
          expect(revisions.at(-1) ?? 0).toBe(count);
          expect(revisions[0] ?? 1).toBeLessThanOrEqual(first);
          revisions.forEach((revision, i) => expect(revision).toBe(revisions[0]! + i));
        },
      ),
      { numRuns: 60 },
    );
  });

  it("needs one question for a short session, and asks for what is new after the last", () => {
    expect(loaded(20, null).questions).toEqual(["newest=true&limit=300"]);
    const { past } = loaded(20, null);
    expect(loaded(23, null, 1_000, past).questions).toEqual(["after=20&limit=1000"]);
  });

  it("begins anew in another history", () => {
    const { past } = loaded(20, null);
    const question = nextQuestion(past, { epoch: "f", revision: 2 }, null)!;
    const page = { epoch: "f", entries: [entry(1, minute), entry(2, 0)], has_more: false };
    expect(question.kind).toBe("newest");
    expect(withPage(past, question, page).entries).toHaveLength(2);
  });

  it("ends where the store has nothing older any more", () => {
    const entries = [entry(501, minute), entry(502, 0)];
    const past = withPage(
      null,
      { kind: "newest", query: "" },
      { epoch: "e", entries, has_more: false },
    );
    const question = nextQuestion(past, { epoch: "e", revision: 502 }, 0)!;
    expect(question.query).toBe("after=0&limit=500");
    const whole = withPage(past, question, { epoch: "e", entries: [], has_more: false });
    expect(nextQuestion(whole, { epoch: "e", revision: 502 }, 0)).toBeNull();
  });
});

describe("a span of the past", () => {
  const entries = [
    entry(1, 40 * day),
    entry(2, 3 * day),
    entry(3, 3 * day - minute, { context: { correct: false } }),
    entry(4, 16 * 60 * minute),
    entry(5, 5 * 60 * minute),
    entry(6, 20 * minute, { state: levelsAt(0.2) }),
    entry(7, 10 * minute, { state: levelsAt(0.4) }),
  ];

  it.each([
    ["session", [6, 7]],
    ["today", [5, 6, 7]],
    ["weeks", [2, 3, 4, 5, 6, 7]],
  ] as const)("%s has the entries %j", (span, revisions) => {
    expect(within(span, entries, now).map(({ revision }) => revision)).toEqual(revisions);
  });

  it("begins at midnight or four weeks ago by this device's calendar", () => {
    expect(sinceOf("session", now)).toBeNull();
    expect(new Date(sinceOf("today", now)!).getHours()).toBe(0);
    expect(sinceOf("weeks", now)).toBe(now - 28 * day);
  });

  it("has an axis that fits: five minutes around one answer, from the first day to now in weeks", () => {
    const [from, to] = rangeOf("session", [entries[6]!], now);
    expect(to - from).toBe(300);
    expect(rangeOf("session", within("session", entries, now), now)).toEqual([
      (now - 20 * minute) / 1_000,
      (now - 10 * minute) / 1_000,
    ]);
    const [first, last] = rangeOf("weeks", within("weeks", entries, now), now);
    expect(new Date(first * 1_000).toDateString()).toBe(new Date(now - 3 * day).toDateString());
    expect(last).toBe(now / 1_000);
  });

  it("is broken where a session ended", () => {
    const { rows, revisions } = tableOf(entries.slice(3), () => "Right");
    expect(rows[0]).toEqual([0.5, null, 0.5, null, 0.2, 0.4]);
    expect(revisions).toEqual([4, null, 5, null, 6, 7]);
  });

  it("has a point per session in weeks: its mean, and how many were right", () => {
    const { rows, words } = sessionTable(within("weeks", entries, now));
    expect(sessionsOf(entries)).toHaveLength(5);
    expect(rows[0]![3]).toBeCloseTo(0.3);
    expect(words).toEqual([
      "2 answers, 1 right",
      "1 answer, 1 right",
      "1 answer, 1 right",
      "2 answers, 2 right",
    ]);
  });
});

describe("behind a number", () => {
  const at = (level: number) => ({ ...levelsAt(0.5), frustration_level: level });
  const entries = [
    entry(1, 50 * minute, { state: at(0.5), mastery: { sums: 0.4 } }),
    entry(2, 40 * minute, { state: at(0.6), mastery: { roots: 0.7 } }),
    entry(3, 30 * minute, { state: at(0.601), mastery: { sums: 0.5 } }),
    entry(4, 20 * minute, { state: at(0.3), mastery: { sums: 0.45 } }),
  ];
  const revisions = (list: ReturnType<typeof behind>) => list.map(({ entry: one }) => one.revision);

  it("are the answers that moved a level, newest first, and by how much", () => {
    const list = behind(entries, { kind: "level", key: "frustration_level" });
    expect(revisions(list)).toEqual([4, 2]);
    expect(list.map(({ moved }) => moved)).toEqual([expect.closeTo(-0.301), expect.closeTo(0.1)]);
  });

  it("are the answers on a skill, with what mastery became", () => {
    const list = behind(entries, { kind: "skill", skill: "sums" });
    expect(revisions(list)).toEqual([4, 3, 1]);
    expect(list.map(({ moved, became }) => [moved, became])).toEqual([
      [expect.closeTo(-0.05), 0.45],
      [expect.closeTo(0.1), 0.5],
      [null, 0.4],
    ]);
    expect(masteryOver(entries, "sums").map(([, value]) => value)).toEqual([0.4, 0.5, 0.45]);
  });

  it("are those around a chosen moment, or else the latest", () => {
    const list = behind(entries, { kind: "moment", revision: 2 });
    expect(revisions(list)).toEqual([4, 3, 2, 1]);
    expect(list.map(({ isChosen }) => isChosen)).toEqual([false, false, true, false]);
    expect(revisions(behind(entries, { kind: "latest" }))).toEqual([4, 3, 2, 1]);
  });

  it("are not those of another session: a pause moves levels, too", () => {
    const later = [entry(8, 3 * 60 * minute), entry(9, minute, { state: at(0.9) })];
    expect(behind(later, { kind: "level", key: "frustration_level" })).toEqual([]);
  });
});

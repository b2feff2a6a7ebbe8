/** Notices about learners: each need is told once. */

import fc from "fast-check";
import { describe, expect, it } from "vitest";
import {
  acknowledged,
  listen,
  newsMs,
  open,
  readEpisodes,
  sameWithinMs,
  sightsOf,
  type Episodes,
  type Sight,
} from "../src/page/frame/attention";
import { levelsAt, meaningOf } from "./fakes";

const opened = Date.parse("2026-03-02T10:00:00Z");
const iso = (ms: number) => new Date(ms).toISOString();
const ada = (since: number): Sight => ({ id: "ada", since: iso(since), reason: "Stuck." });

describe("somebody who begins to need help", () => {
  it("is told once, however often they are seen, and not after it was acknowledged", () => {
    const at = opened + 60_000;
    const first = listen({}, [ada(at)], at, opened);
    expect(first.begun).toEqual(["ada"]);
    expect(open(first.episodes, [ada(at)])).toEqual([ada(at)]);
    const again = listen(first.episodes, [ada(at)], at + 1_000, opened);
    expect(again).toEqual({ episodes: first.episodes, begun: [] });
    const known = acknowledged(first.episodes, ["ada"]);
    expect(open(known, [ada(at)])).toEqual([]);
    expect(listen(known, [ada(at)], at + 10_000, opened).begun).toEqual([]);
  });

  it("is not told again when the need only flickered, and is when it comes back later", () => {
    const at = opened + 60_000;
    const known = acknowledged(listen({}, [ada(at)], at, opened).episodes, ["ada"]);
    const soon = at + sameWithinMs - 1_000;
    expect(listen(known, [ada(soon)], soon, opened).begun).toEqual([]);
    const later = at + sameWithinMs + 60_000;
    expect(listen(known, [ada(later)], later, opened).begun).toEqual(["ada"]);
  });

  it("is not news when it began long before the page was opened", () => {
    const heard = listen({}, [ada(opened - newsMs - 1)], opened, opened);
    expect(heard.begun).toEqual([]);
    expect(open(heard.episodes, [ada(opened - newsMs - 1)])).toEqual([]);
    expect(listen({}, [ada(opened - newsMs + 1)], opened, opened).begun).toEqual(["ada"]);
  });

  it("is shown no longer than the need lasts, who waits longest first", () => {
    const sights = [ada(opened + 9_000), { ...ada(opened + 5_000), id: "ben" }];
    const { episodes } = listen({}, sights, opened + 10_000, opened);
    expect(open(episodes, sights).map(({ id }) => id)).toEqual(["ben", "ada"]);
    expect(open(episodes, [])).toEqual([]);
  });

  it("is whom the server says so of", () => {
    const view = (level: "now" | "look" | "none") => ({
      learnerId: level,
      state: levelsAt(0.5),
      epoch: "e",
      revision: 1,
      updatedAt: opened,
      update: null,
      detailsRevision: 1,
      details: { meaning: meaningOf({}, { level, since: iso(opened), reason: "Stuck." }) },
    });
    expect(sightsOf([view("none"), undefined, view("now"), view("look")])).toEqual([
      { id: "now", since: iso(opened), reason: "Stuck." },
    ]);
  });

  it("is never told twice within five minutes, whatever happens", () => {
    const moves = fc.array(
      fc.record({ after: fc.integer({ min: 0, max: 200_000 }), needs: fc.boolean() }),
    );
    fc.assert(
      fc.property(moves, (steps) => {
        let [episodes, now, since, told]: [Episodes, number, number | null, number] = [
          {},
          opened,
          null,
          -Infinity,
        ];
        for (const { after, needs } of steps) {
          now += after;
          since = needs ? (since ?? now) : null;
          const heard = listen(episodes, since === null ? [] : [ada(since)], now, opened);
          episodes = heard.episodes;
          if (heard.begun.length === 0) continue;
          expect(now - told).toBeGreaterThanOrEqual(sameWithinMs);
          told = now;
        }
      }),
    );
  });
});

it("what was kept is read as far as it makes sense", () => {
  const episode = { since: iso(opened), seen: 1, isAcknowledged: true };
  expect(readEpisodes(JSON.stringify({ ada: episode, ben: null, cleo: 3 }))).toEqual({
    ada: episode,
  });
  for (const text of [null, "", "nonsense", "null", "[]", "7"])
    expect(readEpisodes(text)).toEqual({});
});

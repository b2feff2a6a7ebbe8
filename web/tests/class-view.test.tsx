// @vitest-environment happy-dom
/** The class view drawn for classes of every size: what it says agrees with itself. */

import { act } from "react";
import { createRoot, type Root } from "react-dom/client";
import { afterEach, beforeEach, describe, expect, it, vi } from "vitest";
import { WebSocketProvider } from "@aivo/realtime/react";
import { ClassView } from "../src/page/class/ClassView";
import { PageReactContext, type Learner } from "../src/page/frame/hooks";
import type { Session } from "../src/page/frame/session";
import { Watching } from "../src/page/frame/Watching";
import { meaningOf, world } from "./fakes";

(globalThis as { IS_REACT_ACT_ENVIRONMENT?: boolean }).IS_REACT_ACT_ENVIRONMENT = true;

let root: Root;
let host: HTMLElement;

beforeEach(() => {
  vi.stubGlobal(
    "IntersectionObserver",
    class {
      observe() {}
      disconnect() {}
    },
  );
  host = document.body.appendChild(document.createElement("div"));
  root = createRoot(host);
});

afterEach(async () => {
  await act(async () => root.unmount());
  host.remove();
  vi.unstubAllGlobals();
});

const learnersOf = (count: number): readonly Learner[] =>
  Array.from({ length: count }, (_, i) => ({
    learner_id: `l${i}`,
    display_name: `Learner ${i}`,
    class_ids: ["7a"],
    class_names: { "7a": "Class 7a" },
  }));

/** By number: of five, one needs help now, one is worth a look, one has not started. */
const kindOf = (i: number) => (["now", "look", "none", "none", "new"] as const)[i % 5]!;
const reasonOf = (i: number) => `Reason of ${i}.`;

/** Draw a class; all who have started have answered. */
async function draw(count: number): Promise<void> {
  const { client, server, clock } = world();
  const user = { user_id: "t", display_name: "T", role: "teacher" } as never;
  const page = { session: {} as Session, user, learners: learnersOf(count) };
  await act(async () =>
    root.render(
      <PageReactContext value={page}>
        <WebSocketProvider url="" client={client} autoConnect={false}>
          <Watching>
            <ClassView skills={false} />
          </Watching>
        </WebSocketProvider>
      </PageReactContext>,
    ),
  );
  await act(async () => (client.connect(), clock.advance(10_000)));
  await act(async () => {
    for (let i = 0; i < count; i += 1) {
      const level = kindOf(i);
      if (level === "new") continue;
      const since = level === "none" ? "" : server.timestamp(-60_000 * (i + 1));
      const reason = level === "none" ? "" : reasonOf(i);
      server.move(`l${i}`, 0.5, {
        occurred_at: server.timestamp(-20_000),
        recommendations: ["Keep going: the difficulty is about right."],
        actions: [{ code: "target_zone", reason: ["expect"], urgency: "none" }],
        meaning: meaningOf(i % 2 ? { frustration_level: "much_higher" } : {}, {
          level,
          since,
          reason,
        }),
      });
    }
    await clock.advance(1_000);
  });
  await act(async () => new Promise((resolve) => setTimeout(resolve, 300)));
}

const rows = () => [...host.querySelectorAll<HTMLElement>(".pupil")];
const groupOf = (row: HTMLElement) => row.dataset["group"]!;
const textOf = (selector: string, within: Element = host) =>
  within.querySelector(selector)?.textContent?.trim() ?? "";

describe.each([0, 1, 2, 30, 200])("a class of %i", (count) => {
  it("is drawn whole, and its heading, groups, reasons and bands agree", async () => {
    await draw(count);
    const text = host.textContent!;
    expect(text).not.toMatch(/undefined|null|NaN|Infinity|\[object|Invalid/);
    if (count === 0) {
      expect(text).toContain("Nobody has been entrusted to you yet.");
      expect(rows()).toEqual([]);
      return;
    }
    expect(rows()).toHaveLength(count);
    expect(text).toContain(count === 1 ? "Class 7a, 1 learner" : `Class 7a, ${count} learners`);
    expect(text).not.toMatch(/\b1 learners\b/);

    const groups = rows().map(groupOf);
    const [now, look] = ["now", "look"].map((group) => groups.filter((g) => g === group).length);
    expect(now).toBe(Math.ceil(count / 5));
    expect(look).toBe(Math.ceil((count - 1) / 5));
    const summary = textOf(".summary");
    expect(summary.match(/^(One|\d+) learners? needs? help now/)?.[1]).toBe(
      now === 1 ? "One" : String(now),
    );
    expect(document.title.startsWith(`(${now}) `)).toBe(true);
    const order = ["now", "look", "fine", "away", "new"];
    expect(groups).toEqual([...groups].sort((a, b) => order.indexOf(a) - order.indexOf(b)));

    for (const row of rows()) {
      const i = Number(row.dataset["learner"]!.slice(1));
      const kind = kindOf(i);
      expect(groupOf(row)).toBe(kind === "none" ? "fine" : kind);
      const reason = textOf(".pupil__reason", row);
      if (kind === "now") expect(reason).toBe(`Needs help now ${reasonOf(i)}`);
      if (kind === "look") expect(reason).toBe(`Worth a look ${reasonOf(i)}`);
      if (kind === "none") expect(reason).toBe("");
      expect(textOf(".pupil__age", row)).toContain(kind === "new" ? "not started" : "s ago");
      expect(row.querySelectorAll(".bands").length).toBe(kind === "new" ? 0 : 1);
    }
    // Who waits longest comes first.
    const waiting = rows().filter((row) => groupOf(row) === "now");
    const numbers = waiting.map((row) => Number(row.dataset["learner"]!.slice(1)));
    expect(numbers).toEqual([...numbers].sort((a, b) => b - a));
    expect(host.querySelector(".tools__find") !== null).toBe(count > 12);
  }, 90_000);
});

/** The page in a real browser against the real services. Each `describe` has a stack of its own. */

import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, it } from "vitest";
import { violations } from "./axe.mjs";
import { chromiumPath, logIn, startBrowser } from "./browser.mjs";
import { answer, revision } from "./quiz.mjs";
import { startStack } from "./stack.mjs";

if (!chromiumPath)
  console.warn("e2e: skipped, because there is no Chromium (set CHROMIUM to its path)");

const teacher = "vega@school.example";
const office = "admin@school.example";
const ada = "ada@pupils.example";
const practice = "article.practice";
const learner = "article.learner";
/** What Chromium notes when a request meets a killed server, by how far the connection had come. */
const serverGone =
  /net::ERR_(CONNECTION_|SOCKET_NOT_CONNECTED|EMPTY_RESPONSE|INCOMPLETE_CHUNKED)|WebSocket connection|status of 50/;

let browser;
let stack;
let contexts = [];
/** What pages complained of that nobody expected. */
let complaints = [];

describe.skipIf(!chromiumPath)("the page", () => {
  beforeAll(async () => {
    browser = await startBrowser();
  });
  afterAll(() => browser?.close());
  beforeEach(() => {
    complaints = [];
  });
  afterEach(async () => {
    await Promise.all(contexts.map((context) => context.close()));
    contexts = [];

    expect(complaints).toEqual([]);
  });

  describe("with everything running", () => {
    withStack();

    it("lets in who knows the password, and nobody else", async () => {
      const page = await open();
      await page.goto(stack.url);
      await page.getByLabel("E-mail address").fill(teacher);
      await page.getByLabel("Password").fill("not the password");
      allow(/status of 401/);
      await page.getByRole("button", { name: "Log in" }).click();
      await page.getByRole("alert").waitFor();
      await page.getByLabel("Password").fill(stack.passwordOf(teacher));
      await page.getByRole("button", { name: "Log in" }).click();

      await page.getByRole("heading", { name: "Your learners" }).waitFor();
    });

    it("keeps the login over a reload, with no token where a script could find it", async () => {
      const page = await openAs(teacher);
      await page.reload();
      await page.getByRole("heading", { name: "Your learners" }).waitFor();
      await page.reload();
      await page.getByRole("heading", { name: "Your learners" }).waitFor();

      const kept = await page.evaluate(() =>
        JSON.stringify({
          ...localStorage,
          ...sessionStorage,
          cookie: document.cookie,
          url: location.href,
        }),
      );
      expect(kept).not.toMatch(/eyJ|aivo_refresh/);
      const cookies = await page.context().cookies(`${stack.url}/api/auth/refresh`);
      expect(cookies.map(({ name }) => name).sort()).toEqual(["aivo_device", "aivo_refresh"]);
      for (const cookie of cookies)
        expect(cookie).toMatchObject({ httpOnly: true, sameSite: "Strict" });
    });

    it("keeps the login when reloaded again and again without waiting", async () => {
      const page = await openAs(teacher);
      for (let i = 0; i < 4; i += 1) {
        // A reload on the heels of another can meet a page that the browser is just replacing; the
        // next one counts as well.
        await page.reload({ waitUntil: "commit" }).catch((error) => {
          if (!/Not attached to an active page/.test(String(error))) throw error;
        });
      }

      await page.getByRole("heading", { name: "Your learners" }).waitFor();
    });

    it("keeps the login when the answer to its renewal is lost", async () => {
      const page = await openAs(teacher);
      allow(/ERR_FAILED/);
      let lost = 0;
      await page.route(
        "**/api/auth/refresh",
        async (route) => {
          const asked = route.request();
          lost = (await fetch(asked.url(), { method: "POST", headers: await asked.allHeaders() }))
            .status;
          await route.abort();
        },
        { times: 1 },
      );
      await page.reload();

      await page.getByRole("heading", { name: "Your learners" }).waitFor();
      expect(lost).toBe(200);
    });

    it("logs out everywhere at once", async () => {
      const page = await openAs(teacher);
      allow(/status of 401/);
      const second = await open(page.context());
      await second.goto(stack.url);
      await second.getByRole("heading", { name: "Your learners" }).waitFor();
      await page.getByRole("button", { name: "Log out" }).click();

      await page.getByRole("heading", { name: "Welcome" }).waitFor();
      await second.getByText("Your session has ended").waitFor();
    });

    it("shows an answer in another browser, on the class's and on the learner's page", async () => {
      const [pupil, glance, detail] = await Promise.all([
        openAs(ada),
        openAs(teacher),
        openAs(teacher),
      ]);
      await detail.goto(`${stack.url}/#/learner/demo-ada`);
      await detail.getByText("The first answer will show here by itself.").waitFor();
      await answer(pupil);
      await detail.getByRole("meter").first().waitFor();
      await detail.locator(".chart[data-drawn='true']").waitFor();
      const before = await detail
        .getByRole("meter", { name: "Frustration" })
        .getAttribute("aria-valuenow");
      await answer(pupil, { right: false });
      await answer(pupil, { right: false });

      await detail.locator(`${learner}[data-revision="3"]`).waitFor();
      await glance.locator('.pupil[data-learner="demo-ada"][data-revision="3"]').waitFor();
      await detail.getByText("Two wrong in a row").waitFor();
      const after = await detail
        .getByRole("meter", { name: "Frustration" })
        .getAttribute("aria-valuenow");
      expect(Number(after)).toBeGreaterThan(Number(before));
      await detail.getByRole("button", { name: "Numbers" }).click();
      for (const words of ["checked with people", "from theory"])
        await detail.getByText(words).first().waitFor();
      await expect.poll(() => detail.locator(".recent li").count()).toBe(3);
    });

    it("encourages a learner, and shows no levels unless an adult asks for them", async () => {
      const page = await openAs("femi@pupils.example");
      await page.getByRole("button", { name: "Give me a hint" }).click();
      for (const right of [false, false, false, true]) await answer(page, { right });
      await page.locator('.answers [data-state="recorded"]').nth(4).waitFor();
      await page.getByText("You have solved a task.").waitFor();
      await page.getByRole("heading", { name: "Your next step" }).waitFor();
      await page.locator(".growing .bar").first().waitFor();
      const task = /\d+ ?%|percentages/gi;
      const said = (await page.locator("main").innerText()).replace(task, "");
      expect(said).not.toMatch(/%|frustration|load|fatigue|wrong|mistake|likely/i);
      expect(await page.getByRole("meter").count()).toBe(0);
      await page.goto(`${stack.url}/#/learner/demo-femi`);
      await page.getByRole("heading", { name: "Your next step" }).waitFor();

      await page.getByText("For adults").click();
      await page.getByRole("checkbox", { name: /Show levels/ }).check();
      await page.locator('.own-levels [data-level="frustration_level"]').waitFor();
      expect(await page.locator(".own-levels").innerText()).toMatch(/\d+ %/);
    });

    it("tells once, in every tab and as asked for, that somebody begins to need help", async () => {
      const context = await browser.newContext({ reducedMotion: "reduce" });
      contexts.push(context);
      await context.addInitScript(countTellings);
      const since = new Date().toISOString();
      await context.routeWebSocket(/\/ws$/, needing("demo-ben", since));
      const [page, pupil] = [await open(context), await openAs("ben@pupils.example")];
      await logIn(page, stack, teacher);
      await page.locator("summary", { hasText: "Notices" }).click();
      await page.getByRole("checkbox", { name: "Notify me outside the page" }).check();
      await page.getByRole("checkbox", { name: "Ring" }).check();
      const tried = await page.evaluate(() => globalThis.tones);
      await answer(pupil, { right: false });
      const notice = page.locator(".help li", { hasText: "Ben" });
      await notice.waitFor();
      expect(await notice.textContent()).toContain("Four wrong answers in a row.");
      await expect.poll(() => page.evaluate(() => globalThis.tones)).toBe(tried + 2);

      const second = await open(context);
      await second.goto(`${stack.url}/#/rooms`);
      await second.locator(".help li", { hasText: "Ben" }).waitFor();
      await answer(pupil, { right: false });
      expect(await violations(page)).toEqual([]);
      await notice.getByRole("button", { name: "Got it" }).click();
      for (const tab of [page, second])
        await tab.locator(".help li").waitFor({ state: "detached" });
      await second.reload();
      await second.goto(`${stack.url}/#/`);
      await second.locator('.pupil[data-learner="demo-ben"][data-group="now"]').waitFor();
      expect(await second.locator(".help li").count()).toBe(0);
      const told = await Promise.all(
        [page, second].map((tab) => tab.evaluate(() => globalThis.told)),
      );
      expect(told.flat()).toEqual(["Ben (simulated) needs help: Four wrong answers in a row."]);
    });

    it("calls a teacher whose learner is stuck, with the model's own reason", async () => {
      const [page, pupil] = [await openAs(teacher), await openAs("elif@pupils.example")];
      const row = page.locator('.pupil[data-learner="demo-elif"]');
      const notice = page.locator(".help li", { hasText: "Elif" });
      // How many wrong answers make somebody stuck is the model's matter, and moves with the class.
      for (let wrong = 1; wrong <= 15 && !(await notice.isVisible()); wrong += 1) {
        await answer(pupil, { right: false });
        await expect.poll(() => row.getAttribute("data-revision")).toBe(String(wrong));
      }
      await notice.waitFor();

      await expect.poll(() => row.getAttribute("data-group")).toBe("now");
      expect((await row.locator(".pupil__reason").textContent()).trim()).toMatch(
        /^Needs help now \S.*\.$/,
      );
      const weight = () => row.locator("b").evaluate((one) => getComputedStyle(one).fontWeight);
      await expect.poll(weight).toBe("620");
      const first = page.locator(".pupil").first();
      await expect.poll(() => first.getAttribute("data-learner")).toBe("demo-elif");
      await notice.getByRole("link").click();
      await page.locator('.attention[data-level="now"]').waitFor();
      expect(await page.locator(".help li").count()).toBe(0);
    });

    it("opens one socket, though StrictMode mounts everything twice", async () => {
      const page = await open();
      const sockets = [];
      page.on("websocket", (socket) => sockets.push(socket.url()));
      await logIn(page, stack, teacher);
      await page.getByText("Connection excellent").or(page.getByText("Connection good")).waitFor();
      await page.getByRole("link", { name: "Rooms" }).click();
      await page.getByRole("link", { name: "Learners" }).click();
      await page.getByRole("heading", { name: "Your learners" }).waitFor();

      expect(sockets).toEqual([`${stack.url.replace("http", "ws")}/ws`]);
    });

    it("shows who is in a room, and what they say, to those who may enter", async () => {
      const [pupil, grown] = await Promise.all([openAs(ada), openAs(teacher)]);
      const room = `${stack.url}/#/rooms/${encodeURIComponent("class:demo-class-5a")}`;
      await grown.goto(room);
      await pupil.goto(room);
      await grown.locator(".people", { hasText: "Ada" }).waitFor();
      await pupil.locator(".people", { hasText: "Ms Vega teacher" }).waitFor();
      await pupil.getByRole("textbox", { name: "Message" }).fill("Good morning");
      await pupil.getByRole("button", { name: "Send" }).click();
      await grown.locator(".messages", { hasText: "Good morning" }).waitFor();
      await pupil.getByRole("link", { name: "Practice" }).click();
      await grown.locator(".people", { hasText: "Ada" }).waitFor({ state: "detached" });

      await pupil.goto(`${stack.url}/#/rooms/${encodeURIComponent("class:demo-class-7b")}`);
      await pupil.getByText("You do not have access to this room.").waitFor();
    });

    it("refuses a learner that is not ours", async () => {
      const page = await openAs(teacher);
      allow(/403/);
      await page.goto(`${stack.url}/#/learner/demo-grace`);

      await page.getByText("You do not have access to this learner.").waitFor();
    });

    it("shows administrators the figures, live, over one stream", async () => {
      const page = await openAs(office);
      const asked = [];
      page.on(
        "request",
        (request) =>
          request.url().includes("/api/websocket/") && asked.push(new URL(request.url()).pathname),
      );
      await page.getByRole("link", { name: "System" }).click();
      const received = figure(page, "Messages received");
      const before = await received.textContent();
      const pupil = await openAs(ada);
      await answer(pupil);
      await expect.poll(() => received.textContent(), { timeout: 15_000 }).not.toBe(before);
      const between = await received.textContent();
      await answer(pupil);
      await expect.poll(() => received.textContent(), { timeout: 15_000 }).not.toBe(between);

      expect(asked).toEqual(["/api/websocket/metrics/stream"]);
    });

    it.each(["light", "dark"])("is usable by everybody, everywhere, in %s", async (colorScheme) => {
      const context = await browser.newContext({ colorScheme, reducedMotion: "reduce" });
      contexts.push(context);
      const page = await open(context);
      await page.goto(stack.url);
      await page.getByRole("button", { name: "Log in" }).waitFor();
      const found = {};
      const check = async (name, one) => {
        found[name] = await violations(one);
        await one.setViewportSize({ width: 390, height: 844 });
        found[`${name}, phone`] = [...(await violations(one)), ...(await tooWide(one))];
        await one.setViewportSize({ width: 1280, height: 800 });
      };
      await check("login", page);
      allow(/status of 401/);
      await page.getByLabel("E-mail address").fill(teacher);
      await page.getByLabel("Password").fill("not the password");
      await page.getByRole("button", { name: "Log in" }).click();
      await page.getByRole("alert").waitFor();
      await check("login refused", page);
      const pupil = await openAs(ada);
      await answer(pupil, { right: false });
      await pupil.locator('.answers [data-state="recorded"]').first().waitFor();
      await logIn(page, stack, office);
      for (const [name, hash, ready] of [
        ["class", "#/", ".pupil[data-revision]"],
        ["skills", "#/skills", '.skills[data-whole="true"]'],
        ["learner", "#/learner/demo-ada", ".chart[data-drawn='true']"],
        ["room", "#/rooms/class%3Ademo-class-5a", '.room[data-joined="true"]'],
        ["system", "#/system", ".figures"],
      ]) {
        await page.goto(`${stack.url}/${hash}`);
        await page.locator(ready).first().waitFor();
        await check(name, page);
      }
      await pupil.emulateMedia({ colorScheme });
      await check("practice", pupil);

      expect(Object.entries(found).filter(([, list]) => list.length > 0)).toEqual([]);
    });
  });

  describe("when things break", () => {
    withStack();
    beforeEach(() => stack.mend());

    it("recovers by itself when the edge is killed under it, and loses no answer given meanwhile", async () => {
      const [pupil, watcher] = await Promise.all([openAs(ada), openAs(teacher)]);
      allow(serverGone);
      await answer(pupil);
      // Of an answer that a watcher has seen, its sender may not have heard yet.
      await pupil.locator('.answers [data-state="recorded"]').waitFor();
      await watcher.goto(`${stack.url}/#/learner/demo-ada`);
      await watcher.locator(`${learner}[data-revision="1"]`).waitFor();
      await stack.kill("edge");
      await watcher.locator(`${learner}[data-status="stale"]`).waitFor();
      await pupil.getByText("The connection to the server is interrupted").waitFor();
      await answer(pupil);
      await answer(pupil, { right: false });
      await pupil.getByText("2 answers are kept here and will be sent.").waitFor();
      await stack.start("edge");

      await watcher.locator(`${learner}[data-status="live"][data-revision="3"]`).waitFor();
      await pupil.locator(`${practice}[data-revision="3"]`).waitFor();
      await expect.poll(() => pupil.locator('.answers [data-state="recorded"]').count()).toBe(3);
      await expect.poll(() => watcher.locator(".recent li").count()).toBe(3);
      await watcher.locator(".notices__lost").waitFor({ state: "hidden" });
    });

    it("recovers by itself when the brain is killed under it, and counts no answer twice", async () => {
      const [pupil, watcher] = await Promise.all([openAs(ada), openAs(teacher)]);
      allow(/status of 50/);
      await watcher.goto(`${stack.url}/#/learner/demo-ada`);
      await watcher.locator(`${learner}[data-status="live"]`).waitFor();
      const before = await revision(watcher, learner);
      await stack.kill("brain");
      await answer(pupil);
      await answer(pupil, { right: false });
      await stack.start("brain");
      await watcher
        .locator(`${learner}[data-status="live"][data-revision="${before + 2}"]`)
        .waitFor();
      await answer(pupil);

      await watcher
        .locator(`${learner}[data-status="live"][data-revision="${before + 3}"]`)
        .waitFor();
      await expect.poll(() => pupil.locator('.answers [data-state="recorded"]').count()).toBe(3);
    });

    it("keeps answers given offline through a reload, and sends each once", async () => {
      const page = await openAs(ada);
      allow(/ERR_INTERNET_DISCONNECTED|WebSocket connection/);
      await page.locator(`${practice}[data-revision]`).waitFor();
      const before = await revision(page, practice);
      await page.context().setOffline(true);
      await answer(page);
      await answer(page, { right: false });
      await page.getByText("This device is offline.").waitFor();
      expect(await page.locator('.answers [data-state="waiting"]').count()).toBe(2);
      await page.context().setOffline(false);
      await page.reload();

      await page
        .locator(`${practice}[data-status="live"][data-revision="${before + 2}"]`)
        .waitFor();
      expect(await history("demo-ada", page)).toHaveLength(before + 2);
    });

    it("sends answers given offline as soon as the network is back", async () => {
      const page = await openAs(ada);
      allow(/ERR_INTERNET_DISCONNECTED|WebSocket connection/);
      await page.locator(`${practice}[data-revision]`).waitFor();
      const before = await revision(page, practice);
      await page.context().setOffline(true);
      await answer(page);
      await page.getByText("This device is offline.").waitFor();
      await page.context().setOffline(false);

      await page
        .locator(`${practice}[data-status="live"][data-revision="${before + 1}"]`)
        .waitFor();
      const ids = (await history("demo-ada", page)).map((entry) => entry.interaction_id);
      expect(new Set(ids).size).toBe(ids.length);
    });

    it.each([40, -40])(
      "takes a device's clock that is %s minutes off for what it is",
      async (off) => {
        const [pupil, glance] = await Promise.all([
          openAs(ada, { clockOffMinutes: off }),
          openAs(teacher, { clockOffMinutes: off }),
        ]);
        allow(/ERR_INTERNET_DISCONNECTED|WebSocket connection/);
        await pupil.locator(`${practice}[data-revision]`).waitFor();
        const before = await revision(pupil, practice);
        await answer(pupil);
        await pupil.context().setOffline(true);
        await answer(pupil);
        await pupil.getByText("This device is offline.").waitFor();
        await pupil.context().setOffline(false);

        await glance
          .locator(`.pupil[data-learner="demo-ada"][data-revision="${before + 2}"]`)
          .waitFor();
        const row = glance.locator('.pupil[data-learner="demo-ada"]');
        expect(await row.locator(".pupil__age").textContent()).toMatch(/now|second/);
        expect(await row.getAttribute("data-group")).not.toBe("away");
        const answers = (await history("demo-ada", pupil)).slice(-2);
        for (const { occurred_at } of answers)
          expect(Math.abs(Date.parse(occurred_at) - Date.now())).toBeLessThan(60_000);
      },
    );

    it("says when the figures cannot be had, and shows them again when they can", async () => {
      const page = await openAs(office);
      allow(/status of 50|ERR_INCOMPLETE_CHUNKED/);
      await page.goto(`${stack.url}/#/system`);
      await page.getByText("Live", { exact: true }).waitFor();
      await stack.kill("metrics");
      await page.getByText("Figures cannot be had at the moment").waitFor();
      expect(await figure(page, "Edges reporting").textContent()).toBe("1");
      await stack.start("metrics");

      await page.getByText("Live", { exact: true }).waitFor();
      await expect
        .poll(() => figure(page, "Edges reporting").textContent(), { timeout: 15_000 })
        .toBe("1");
    });

    it("moves to the restarted edge when a deployment restarts it", async () => {
      const watcher = await openAs(teacher);
      allow(serverGone);
      await watcher.goto(`${stack.url}/#/learner/demo-ada`);
      await watcher.locator(`${learner}[data-status="live"]`).waitFor();
      await stack.restart("edge");

      await watcher.locator(`${learner}[data-status="live"]`).waitFor();
      await watcher.getByText(/Connection (excellent|good|fair)/).waitFor();
    });

    it("is up to date when a hidden tab comes back after its connection was lost", async () => {
      const [pupil, tab] = await Promise.all([openAs(ada), openAs(teacher)]);
      allow(serverGone);
      await tab.goto(`${stack.url}/#/learner/demo-ada`);
      await tab.locator(`${learner}[data-status="live"]`).waitFor();
      const before = await revision(tab, learner);
      const sleeper = await tab.context().newCDPSession(tab);
      await hide(tab, true);
      await sleeper.send("Page.setWebLifecycleState", { state: "frozen" });
      await stack.kill("edge");
      await stack.start("edge");
      await answer(pupil);
      await pupil.locator(`${practice}[data-revision="${before + 1}"]`).waitFor();
      await sleeper.send("Page.setWebLifecycleState", { state: "active" });
      await hide(tab, false);

      await tab.locator(`${learner}[data-status="live"][data-revision="${before + 1}"]`).waitFor();
    });
  });
});

/** Replaces what would leave the page: browser notifications and tones. */
function countTellings() {
  globalThis.told = [];
  globalThis.tones = 0;
  globalThis.Notification = class {
    static permission = "granted";
    static requestPermission = async () => "granted";
    constructor(title, { body }) {
      globalThis.told.push(`${title}: ${body}`);
    }
  };
  const { createOscillator } = AudioContext.prototype;
  AudioContext.prototype.createOscillator = function () {
    globalThis.tones += 1;
    return createOscillator.call(this);
  };
}

/** Passes a socket on, with one learner in need: whom the model finds in need is its own matter. */
function needing(learnerId, since) {
  return (socket) => {
    const server = socket.connectToServer();
    server.onMessage((message) => {
      const frame = JSON.parse(message);
      if (frame.learner_id === learnerId && frame.state) frame.meaning = need(frame.state, since);
      socket.send(JSON.stringify(frame));
    });
  };
}

function need(state, since) {
  const all = (value) => Object.fromEntries(Object.keys(state).map((key) => [key, value]));
  return {
    bands: all("as_usual"),
    usual: state,
    spread: all(0.1),
    deviation: all(0),
    attention: { level: "now", code: "stuck", reason: "Four wrong answers in a row.", since },
  };
}

function withStack() {
  beforeAll(async () => {
    stack = await startStack();
  });
  afterAll(() => stack?.close());
}

/**
 * A page of a browser of its own, or of the given context; its complaints make the test fail unless
 * they are allowed.
 */
async function open(context) {
  if (context === undefined) {
    context = await browser.newContext({ reducedMotion: "reduce" });
    contexts.push(context);
  }
  const page = await context.newPage();
  page.setDefaultTimeout(30_000);
  const complain = (text) => {
    if (!allowed.some((pattern) => pattern.test(text))) complaints.push(text);
  };
  page.on("pageerror", (error) => complain(String(error)));
  page.on("console", (message) => message.type() === "error" && complain(message.text()));
  return page;
}

async function openAs(email, { clockOffMinutes = 0 } = {}) {
  const page = await open();
  if (clockOffMinutes)
    await page.addInitScript((minutes) => {
      const real = Date;
      const off = minutes * 60_000;
      Date = class extends real {
        constructor(...given) {
          super(...(given.length === 0 ? [real.now() + off] : given));
        }
        static now() {
          return real.now() + off;
        }
      };
    }, clockOffMinutes);
  await logIn(page, stack, email);
  return page;
}

/** Where the system's page shows a figure. */
function figure(page, name) {
  return page.locator("dt", { hasText: name }).locator("xpath=following-sibling::dd");
}

let allowed = [];
beforeEach(() => {
  allowed = [];
});

/** A browser notes each refused request in its console; a test says which it provokes. */
function allow(pattern) {
  allowed.push(pattern);
}

/** What would have to be scrolled sideways. */
function tooWide(page) {
  return page.evaluate(() => {
    const { scrollWidth, clientWidth } = document.documentElement;
    return scrollWidth > clientWidth
      ? [`${scrollWidth} px wide on a screen of ${clientWidth} px`]
      : [];
  });
}

/** Headless pages are always visible: says otherwise, as a browser does when its tab is left. */
function hide(page, hidden) {
  return page.evaluate(
    (state) => {
      Object.defineProperty(document, "visibilityState", { configurable: true, get: () => state });
      document.dispatchEvent(new Event("visibilitychange", { bubbles: true }));
    },
    hidden ? "hidden" : "visible",
  );
}

/** What the server has recorded of a learner, as one of their own pages may ask. */
async function history(learnerId, page) {
  return page.evaluate(async (id) => {
    const login = await (await fetch("/api/auth/refresh", { method: "POST" })).json();
    const headers = { Authorization: `Bearer ${login.access_token}` };
    return (
      await (await fetch(`/api/learners/${id}/history?newest=true&limit=1000`, { headers })).json()
    ).entries;
  }, learnerId);
}

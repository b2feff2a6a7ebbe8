/** The page's login: where the token is, when it is renewed, and what happens when that fails. */

import { afterEach, beforeEach, describe, expect, it, vi } from "vitest";
import { ApiError, Session } from "../src/page/frame/session";

type Answer = { status: number; body?: unknown } | "unreachable";

let asked: { path: string; init: RequestInit | undefined }[] = [];
let answers: Record<string, (count: number) => Answer> = {};

const user = { id: "u", email: "u@school.example", role: "teacher", display_name: "U" };
let grants = 0;
const grant = (): Answer => ({
  status: 200,
  body: { access_token: `token-${(grants += 1)}`, expires_in: 900, user },
});
const refused: Answer = { status: 401, body: { code: "unauthenticated", detail: "No." } };

beforeEach(() => {
  vi.useFakeTimers({ now: Date.parse("2026-03-02T10:00:00Z") });
  asked = [];
  grants = 0;
  answers = {
    "/api/auth/refresh": grant,
    "/api/auth/login": grant,
    "/api/auth/logout": () => ({ status: 204 }),
  };
  vi.stubGlobal("navigator", {});
  vi.stubGlobal("fetch", async (path: string, init?: RequestInit) => {
    asked.push({ path, init });
    const answer = answers[path]!(asked.filter((one) => one.path === path).length);
    if (answer === "unreachable") throw new TypeError("Failed to fetch");
    return new Response(answer.body === undefined ? null : JSON.stringify(answer.body), {
      status: answer.status,
    });
  });
});

afterEach(() => {
  vi.useRealTimers();
  vi.unstubAllGlobals();
});

/** Gives the page a storage. */
function storage(...entries: [string, string][]): Map<string, string> {
  const stored = new Map(entries);
  vi.stubGlobal("localStorage", {
    getItem: (key: string) => stored.get(key) ?? null,
    setItem: (key: string, value: string) => stored.set(key, value),
    removeItem: (key: string) => stored.delete(key),
  });
  return stored;
}

const refreshes = () => asked.filter(({ path }) => path === "/api/auth/refresh").length;

/** Gives the page an address; returns where it was sent. */
function address(hash: string): string[] {
  const sent: string[] = [];
  vi.stubGlobal("location", { hash, pathname: "/", assign: (to: string) => sent.push(to) });
  vi.stubGlobal("history", { replaceState: (...[, , to]: string[]) => sent.push(`now ${to}`) });
  return sent;
}

describe("signing in at a provider", () => {
  it("ends with a session here, and logging out ends it there, too", async () => {
    const stored = storage();
    const sent = address("#signed-in=school");
    const session = new Session();
    await session.start();
    expect(session.getSnapshot()).toEqual({ phase: "in", user });
    await session.logout();
    expect(sent).toEqual(["now /", "/api/auth/providers/school/logout"]);
    expect(stored.size).toBe(0);
  });

  it("says that it did not succeed, and asks for nothing", async () => {
    storage();
    address("#sign-in-failed=unauthenticated");
    const session = new Session();
    await session.start();
    expect(session.getSnapshot()).toEqual({ phase: "out", ended: false });
    expect(session.signInFailed).toBe("unauthenticated");
    expect(refreshes()).toBe(0);
  });

  it("is offered as the server tells, and passwords where it cannot be asked", async () => {
    const offered = { passwords: false, providers: [{ id: "school", label: "School" }] };
    answers["/api/auth/providers"] = (count) =>
      count === 1 ? { status: 200, body: offered } : "unreachable";
    const session = new Session();
    expect(await session.signIns()).toEqual(offered);
    expect(await session.signIns()).toEqual({ passwords: true, providers: [] });
  });
});

describe("a session", () => {
  it("takes up the login that the cookie holds", async () => {
    const session = new Session();
    await session.start();

    expect(session.getSnapshot()).toEqual({ phase: "in", user });
    expect(await session.getToken()).toBe("token-1");
    expect(refreshes()).toBe(1);
  });

  it("asks for a login when there is none", async () => {
    answers["/api/auth/refresh"] = () => refused;
    const session = new Session();
    await session.start();

    expect(session.getSnapshot()).toEqual({ phase: "out", ended: false });
    expect(await session.getToken()).toBe(null);
  });

  it("asks the server for nothing where nobody has logged in, and forgets a login that has ended", async () => {
    const stored = storage();
    const first = new Session();
    await first.start();
    expect(first.getSnapshot()).toEqual({ phase: "out", ended: false });
    expect(asked).toEqual([]);

    await first.login("u@school.example", "secret");
    const second = new Session();
    await second.start();
    expect(second.getSnapshot().phase).toBe("in");

    await second.logout();
    expect(stored.size).toBe(0);
  });

  it("goes on asking while the server cannot be reached, and does not take that for a logout", async () => {
    answers["/api/auth/refresh"] = (count) => (count < 3 ? "unreachable" : grant());
    const session = new Session();
    const started = session.start();
    await vi.advanceTimersByTimeAsync(1);
    expect(session.getSnapshot().phase).toBe("unreachable");
    await vi.advanceTimersByTimeAsync(10_000);
    await started;

    expect(session.getSnapshot().phase).toBe("in");
  });

  it("renews before the socket needs it, and once for all who ask", async () => {
    const session = new Session();
    await session.login("u@school.example", "secret");
    expect(await session.getToken()).toBe("token-1");
    vi.setSystemTime(Date.now() + 811_000);
    const tokens = await Promise.all([session.getToken(), session.getToken(), session.getToken()]);

    expect(tokens).toEqual(["token-2", "token-2", "token-2"]);
    expect(refreshes()).toBe(1);
  });

  it("asks for the refresh token as a cookie", async () => {
    await new Session().login("u@school.example", "secret");

    expect(JSON.parse(String(asked[0]!.init!.body))).toMatchObject({ cookie: true });
  });

  it("gives another token after one was refused", async () => {
    const session = new Session();
    await session.start();
    session.refuse();

    expect(await session.getToken()).toBe("token-2");
  });

  it("repeats a refused question once with a new token", async () => {
    const session = new Session();
    await session.start();
    answers["/api/x"] = (count) => (count === 1 ? refused : { status: 200, body: { x: 1 } });

    expect(await session.get("/api/x")).toEqual({ x: 1 });
    expect(asked.at(-1)!.init!.headers).toEqual({ Authorization: "Bearer token-2" });
  });

  it("gives up a question that stays refused, and one that fails", async () => {
    const session = new Session();
    await session.start();
    answers["/api/x"] = () => refused;
    answers["/api/y"] = () => ({ status: 503, body: { code: "unavailable", detail: "Later." } });

    await expect(session.get("/api/x")).rejects.toMatchObject({ status: 401 });
    await expect(session.get("/api/y")).rejects.toEqual(new ApiError(503, "unavailable", "Later."));
  });

  it("says that it has ended when it can be renewed no more", async () => {
    const session = new Session();
    await session.start();
    answers["/api/auth/refresh"] = () => refused;
    session.refuse();

    expect(await session.getToken()).toBe(null);
    expect(session.getSnapshot()).toEqual({ phase: "out", ended: true });
  });

  it("survives a renewal that fails for other reasons", async () => {
    const session = new Session();
    await session.start();
    answers["/api/auth/refresh"] = () => ({ status: 503 });
    session.refuse();

    await expect(session.getToken()).rejects.toBeInstanceOf(ApiError);
    expect(session.getSnapshot().phase).toBe("in");
  });

  it("logs out here even when the server cannot be told", async () => {
    const session = new Session();
    await session.start();
    answers["/api/auth/logout"] = () => "unreachable";
    await session.logout();

    expect(session.getSnapshot()).toEqual({ phase: "out", ended: false });
    expect(await session.getToken()).toBe(null);
  });

  it("asks for a lost answer again under the same key, and the next time under another", async () => {
    const stored = storage(["aivo-login", "yes"]);
    const lost: Answer[] = ["unreachable", { status: 200 }, { status: 503 }];
    answers["/api/auth/refresh"] = () => lost.shift() ?? grant();
    const session = new Session();
    const started = session.start();
    await vi.advanceTimersByTimeAsync(10_000);
    await started;
    session.refuse();
    await session.getToken();

    const keys = asked.map(
      ({ init }) => (init!.headers as Record<string, string>)["Idempotency-Key"],
    );
    expect(keys).toEqual([keys[0], keys[0], keys[0], keys[0], keys[4]]);
    expect(keys[0]).toMatch(/^[0-9a-f]{32}$/);
    expect(keys[4]).not.toBe(keys[0]);
    expect([...stored.keys()]).toEqual(["aivo-login"]);
  });

  it("waits for the renewal of the page before it, and asks for its answer if that page never got it", async () => {
    const stored = storage(
      ["aivo-login", "yes"],
      ["aivo-renewing", `${Date.now() - 400} key-of-the-page-before`],
    );
    const session = new Session();
    const started = session.start();
    await vi.advanceTimersByTimeAsync(1_000);
    expect(refreshes()).toBe(0);
    await vi.advanceTimersByTimeAsync(200);
    await started;

    expect(refreshes()).toBe(1);
    expect(asked[0]!.init!.headers).toEqual({ "Idempotency-Key": "key-of-the-page-before" });
    expect([...stored.keys()]).toEqual(["aivo-login"]);
  });
});

/**
 * Who is logged in. The access token lives in memory only; the refresh token in a cookie that no
 * script can read, which is how a reload keeps the login. Knows no socket and no component.
 */

/** A user as the server tells. */
export interface User {
  readonly id: string;
  readonly email: string;
  readonly role: "learner" | "guardian" | "teacher" | "admin" | "unknown";
  readonly display_name: string;
}

/** Where the login stands; `unreachable`: the server could not be asked yet, asking again. */
export type SessionState =
  | { readonly phase: "starting" | "unreachable" }
  | { readonly phase: "out"; readonly ended: boolean }
  | { readonly phase: "in"; readonly user: User };

interface Grant {
  readonly access_token: string;
  /** Seconds. */
  readonly expires_in: number;
  readonly user: User;
}

/** An answer of the HTTP API that is not what was asked for. */
export class ApiError extends Error {
  override readonly name = "ApiError";
  constructor(
    readonly status: number,
    readonly code: string,
    message: string,
  ) {
    super(message);
  }
}

/**
 * Set while somebody is logged in, for the refresh cookie itself cannot be seen: without it there
 * is nothing to ask the server for.
 */
const loginMark = "aivo-login";

/**
 * When a refresh was sent that has no answer yet, and its key: each refresh token works once,
 * and only under the same key may an exchange be asked again whose answer was lost, also by the
 * page after this one.
 */
const renewingMark = "aivo-renewing";
const renewingMs = 1_500;

/** Set while somebody is logged in who came by a provider: its id, to log out there, too. */
const providerMark = "aivo-provider";

/** How one may sign in, as the server tells. */
export interface SignIns {
  readonly passwords: boolean;
  readonly providers: readonly { readonly id: string; readonly label: string }[];
}

/** What the address says of a sign-in at a provider that ended here; it is taken out of it. */
function arrival(): { readonly failed: boolean; readonly value: string } | null {
  const found = /^#(signed-in|sign-in-failed)=([\w-]+)$/.exec(globalThis.location?.hash ?? "");
  if (!found) return null;
  history.replaceState(null, "", location.pathname);
  return { failed: found[1] === "sign-in-failed", value: found[2]! };
}

/** The login of this browser, shared by all its tabs through the cookie. */
export class Session {
  #state: SessionState = { phase: "starting" };
  #token: { readonly value: string; readonly freshUntil: number } | null = null;
  #renewing: Promise<string | null> | null = null;
  /** Of the exchange that this page sent and has no answer to. */
  #key: string | null = null;
  /** Why signing in at a provider ended here with nobody signed in; null when it did not. */
  signInFailed: string | null = null;
  readonly #listeners = new Set<() => void>();

  /**
   * Take up the login of an earlier page, if there is one; goes on asking while the server cannot
   * be reached.
   */
  async start(): Promise<void> {
    const arrived = arrival();
    if (arrived?.failed) this.signInFailed = arrived.value;
    else if (arrived) {
      write(loginMark, "yes");
      write(providerMark, arrived.value);
    }
    if (read(loginMark) === null) return this.#leave(false);
    for (let wait = 500; ; wait = Math.min(wait * 1.6, 8_000)) {
      try {
        if (this.#state.phase !== "in") await this.#renew();
        return;
      } catch {
        if (this.#state.phase !== "in") this.#set({ phase: "unreachable" });
        await new Promise((resolve) => setTimeout(resolve, wait * (0.5 + Math.random())));
      }
    }
  }

  /** Log in. Throws an ApiError whose message is for people. */
  async login(email: string, password: string): Promise<void> {
    const response = await send("/api/auth/login", {
      method: "POST",
      headers: { "Content-Type": "application/json" },
      body: JSON.stringify({ email, password, cookie: true }),
    });
    this.#take((await response.json()) as Grant);
  }

  /** How one may sign in; by password where the server cannot be asked. */
  async signIns(): Promise<SignIns> {
    const response = await fetch("/api/auth/providers").catch(() => null);
    if (!response?.ok) return { passwords: true, providers: [] };
    return (await response.json()) as SignIns;
  }

  /** Log out, here and on the server; here also when the server cannot be reached. */
  async logout(): Promise<void> {
    const headers: Record<string, string> = this.#token
      ? { Authorization: `Bearer ${this.#token.value}` }
      : {};
    const provider = read(providerMark);
    await fetch("/api/auth/logout", { method: "POST", headers }).catch(() => {});
    this.#leave(false);
    if (provider) location.assign(`/api/auth/providers/${provider}/logout`);
  }

  /**
   * A token that is good for a while yet; null when nobody is logged in. Throws when the server
   * cannot be reached.
   */
  readonly getToken = async (): Promise<string | null> => {
    if (this.#token && Date.now() < this.#token.freshUntil) return this.#token.value;
    if (this.#state.phase === "out") return null;
    return this.#renew();
  };

  /** The server refused the token: the next one will be another. */
  readonly refuse = (): void => {
    this.#token = null;
  };

  /**
   * GET something of the API; once more with a new token if the first was refused. Throws ApiError.
   */
  readonly open = async (path: string, signal?: AbortSignal): Promise<Response> => {
    for (let again = false; ; again = true) {
      const token = await this.getToken();
      if (token === null) throw new ApiError(401, "unauthenticated", "You are not logged in.");
      try {
        return await send(path, {
          headers: { Authorization: `Bearer ${token}` },
          signal: signal ?? null,
        });
      } catch (error) {
        if (again || !(error instanceof ApiError) || error.status !== 401) throw error;
        this.refuse();
      }
    }
  };

  /** The same as JSON. */
  readonly get = async <T>(path: string, signal?: AbortSignal): Promise<T> =>
    (await (await this.open(path, signal)).json()) as T;

  readonly subscribe = (listener: () => void): (() => void) => {
    this.#listeners.add(listener);
    return () => this.#listeners.delete(listener);
  };

  readonly getSnapshot = (): SessionState => this.#state;

  /** One renewal at a time, in this tab and, where the browser has locks, in all of them. */
  #renew(): Promise<string | null> {
    this.#renewing ??= underLock(() => this.#exchange()).finally(() => {
      this.#renewing = null;
    });
    return this.#renewing;
  }

  async #exchange(): Promise<string | null> {
    if (this.#key === null) await earlierPageDone();
    this.#key ??= unanswered().key ?? unguessable();
    write(renewingMark, `${Date.now()} ${this.#key}`);
    try {
      // `keepalive`: when the page is left now, the browser still takes the new cookie.
      const response = await send("/api/auth/refresh", {
        method: "POST",
        headers: { "Idempotency-Key": this.#key },
        keepalive: true,
      });
      const token = this.#take((await response.json()) as Grant);
      this.#answered();
      return token;
    } catch (error) {
      if (!(error instanceof ApiError) || error.status !== 401) throw error;
      this.#answered();
      this.#leave(this.#state.phase === "in");
      return null;
    }
  }

  #answered(): void {
    this.#key = null;
    write(renewingMark, null);
  }

  #take({ access_token, expires_in, user }: Grant): string {
    // The socket asks for a new token up to 90 s (for short-lived ones 30 %) before the old one
    // ends, and must get one.
    const lifetime = expires_in * 1_000;
    write(loginMark, "yes");
    this.#token = {
      value: access_token,
      freshUntil: Date.now() + lifetime - Math.min(90_000, lifetime * 0.3) - 1_000,
    };
    const { phase } = this.#state;
    if (phase !== "in" || this.#state.user.id !== user.id) this.#set({ phase: "in", user });
    return access_token;
  }

  #leave(ended: boolean): void {
    write(loginMark, null);
    write(providerMark, null);
    this.#token = null;
    this.#set({ phase: "out", ended });
  }

  #set(state: SessionState): void {
    this.#state = state;
    for (const listener of [...this.#listeners]) listener();
  }
}

async function send(path: string, init: RequestInit): Promise<Response> {
  const response = await fetch(path, init);
  if (response.ok) return response;
  const problem = (await response.json().catch(() => ({}))) as { code?: string; detail?: string };
  throw new ApiError(
    response.status,
    problem.code ?? "internal",
    problem.detail ?? "The server could not answer.",
  );
}

function underLock<T>(work: () => Promise<T>): Promise<T> {
  // Absent where the page came over plain HTTP from another machine.
  return navigator.locks ? (navigator.locks.request("aivo-session", work) as Promise<T>) : work();
}

/**
 * 128 random bits; `crypto.randomUUID` is absent where the page came over plain HTTP from another
 * machine.
 */
function unguessable(): string {
  return Array.from(crypto.getRandomValues(new Uint8Array(16)), (byte) =>
    byte.toString(16).padStart(2, "0"),
  ).join("");
}

/** The exchange that a page sent, perhaps one before this, and noted no answer to. */
function unanswered(): { readonly sinceMs: number; readonly key: string | undefined } {
  const [since, key] = (read(renewingMark) ?? "").split(" ");
  return { sinceMs: Number(since), key };
}

async function earlierPageDone(): Promise<void> {
  const left = renewingMs - (Date.now() - unanswered().sinceMs);
  if (left > 0 && left <= renewingMs) await new Promise((resolve) => setTimeout(resolve, left));
}

/** Null: not set. The empty text: storage is forbidden here, nothing is known. */
function read(mark: string): string | null {
  try {
    return localStorage.getItem(mark);
  } catch {
    return "";
  }
}

function write(mark: string, value: string | null): void {
  try {
    if (value === null) localStorage.removeItem(mark);
    else localStorage.setItem(mark, value);
  } catch {
    // Storage is forbidden here: reloading twice within a moment may then cost the login.
  }
}

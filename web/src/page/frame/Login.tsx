/** Asks who it is. */

import { useEffect, useId, useState, type FormEvent } from "react";
import { Brand } from "./Brand";
import { useTitle } from "./hooks";
import { ApiError, type Session, type SignIns } from "./session";
import { ThemeButton } from "./ThemeButton";

/** The form to log in; `ended`: there was a login that is over. */
export function Login({ session, ended }: { session: Session; ended: boolean }) {
  const [problem, setProblem] = useState<string | null>(() => told(session.signInFailed));
  const [signIns, setSignIns] = useState<SignIns>({ passwords: true, providers: [] });
  useEffect(() => {
    let here = true;
    void session.signIns().then((found) => here && setSignIns(found));
    return () => {
      here = false;
    };
  }, [session]);
  const [busy, setBusy] = useState(false);
  useTitle("Log in");
  const ids = { email: useId(), password: useId(), problem: useId() };
  const submit = async (event: FormEvent<HTMLFormElement>) => {
    event.preventDefault();
    const data = new FormData(event.currentTarget);
    setBusy(true);
    setProblem(null);
    try {
      await session.login(String(data.get("email")).trim(), String(data.get("password")));
    } catch (error) {
      setProblem(
        error instanceof ApiError
          ? error.message
          : "The server cannot be reached. Please try again in a moment.",
      );
      setBusy(false);
    }
  };
  return (
    <main className="login">
      <div className="login__card">
        <Brand />
        <h1>Welcome</h1>
        <p className="soft">
          {ended
            ? "Your session has ended. Please log in again."
            : "Log in to see how learning is going."}
        </p>
        {signIns.providers.map(({ id, label }) => (
          <a
            key={id}
            className="button button--main login__provider"
            href={`/api/auth/providers/${id}/start`}
          >
            {label}
          </a>
        ))}
        {problem && !signIns.passwords && (
          <p className="login__problem" role="alert">
            {problem}
          </p>
        )}
        {signIns.passwords && (
          <form onSubmit={submit} aria-describedby={problem ? ids.problem : undefined}>
            <label htmlFor={ids.email}>E-mail address</label>
            <input
              id={ids.email}
              name="email"
              type="email"
              autoComplete="username"
              required
              autoFocus
            />
            <label htmlFor={ids.password}>Password</label>
            <input
              id={ids.password}
              name="password"
              type="password"
              autoComplete="current-password"
              required
            />
            {problem && (
              <p className="login__problem" id={ids.problem} role="alert">
                {problem}
              </p>
            )}
            <button className="button button--main" type="submit" disabled={busy}>
              {busy ? "Logging in …" : "Log in"}
            </button>
          </form>
        )}
      </div>
      <div className="login__corner">
        <ThemeButton />
      </div>
    </main>
  );
}

/** Why a sign-in at a provider came to nothing, for people. */
function told(failed: string | null): string | null {
  if (failed === null) return null;
  return failed === "unauthenticated"
    ? "Signing in did not succeed. Try again, or ask your school's office."
    : "Signing in is not possible just now. Please try again in a moment.";
}

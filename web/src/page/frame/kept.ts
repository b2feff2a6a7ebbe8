/** Settings of this device: kept where the browser allows it, the same in all of its tabs. */

import { useCallback, useSyncExternalStore } from "react";

const listeners = new Set<() => void>();
/** What could not be stored, for as long as the page is open. */
const unstored = new Map<string, string>();

/** What was kept; null for nothing. */
export function keptText(name: string): string | null {
  try {
    return localStorage.getItem(`aivo-${name}`) ?? unstored.get(name) ?? null;
  } catch {
    return unstored.get(name) ?? null;
  }
}

/** Keep something, and tell everybody on this page who uses it. */
export function keepText(name: string, text: string): void {
  unstored.set(name, text);
  try {
    localStorage.setItem(`aivo-${name}`, text);
  } catch {
    // Then it is kept until the page is closed.
  }
  for (const listener of [...listeners]) listener();
}

/** Be called when anything kept changes, here or in another tab. Returns how to stop. */
export function onKept(listener: () => void): () => void {
  listeners.add(listener);
  addEventListener("storage", listener);
  return () => {
    listeners.delete(listener);
    removeEventListener("storage", listener);
  };
}

/** A switch that is remembered on this device; off at first. */
export function useKeptSwitch(name: string): readonly [boolean, (on: boolean) => void] {
  const on = useSyncExternalStore(
    onKept,
    () => keptText(name) === "yes",
    () => false,
  );
  const set = useCallback((wanted: boolean) => keepText(name, wanted ? "yes" : "no"), [name]);
  return [on, set];
}

/**
 * Where in the page one is: kept in the address after `#`, so that it can be bookmarked and the
 * server need not know.
 */

import { useSyncExternalStore } from "react";

export type Route =
  | { readonly name: "home" | "skills" | "practice" | "system" }
  | { readonly name: "learner"; readonly id: string }
  | { readonly name: "rooms"; readonly id: string | null };

/** The address of a place in the page. */
export function href(route: Route): string {
  if (route.name === "home") return "#/";
  return "id" in route && route.id !== null
    ? `#/${route.name}/${encodeURIComponent(route.id)}`
    : `#/${route.name}`;
}

/** Read an address; whatever is unknown leads home. */
export function routeOf(hash: string): Route {
  const [, name = "", raw = ""] = hash.split("/");
  const id = decoded(raw);
  if (name === "learner" && id) return { name, id };
  if (name === "rooms") return { name, id: id || null };
  return name === "skills" || name === "practice" || name === "system"
    ? { name }
    : { name: "home" };
}

/** The present place. */
export function useRoute(): Route {
  return routeOf(
    useSyncExternalStore(
      subscribe,
      () => location.hash,
      () => "",
    ),
  );
}

function subscribe(listener: () => void): () => void {
  addEventListener("hashchange", listener);
  return () => removeEventListener("hashchange", listener);
}

function decoded(text: string): string {
  try {
    return decodeURIComponent(text);
  } catch {
    return "";
  }
}

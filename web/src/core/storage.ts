/**
 * Where queued interactions survive a closed page: one key per interaction, so that two tabs never
 * overwrite each other.
 */

import type { QueuedInteraction } from "./machine/types";

/** The part of `localStorage` that is used. */
export type StorageLike = Pick<Storage, "getItem" | "setItem" | "removeItem" | "key" | "length">;

const prefix = "aivo.queue:";

const keyOf = (user: string, id: string) => `${prefix}${encodeURIComponent(user)}:${id}`;

/** Keep an item, if it is known whose it is. Throws when the storage is full or forbidden. */
export function saveItem(storage: StorageLike, { user, data, queuedAt }: QueuedInteraction): void {
  if (user !== null)
    storage.setItem(keyOf(user, data.interaction_id), JSON.stringify({ queuedAt, data }));
}

export function removeItem(storage: StorageLike, { user, data }: QueuedInteraction): void {
  if (user !== null) storage.removeItem(keyOf(user, data.interaction_id));
}

/** All items of a user, in no order. Unreadable ones are removed: nobody could ever send them. */
export function loadItems(storage: StorageLike, user: string): QueuedInteraction[] {
  const start = keyOf(user, "");
  const keys = Array.from({ length: storage.length }, (_, index) => storage.key(index)).filter(
    (key) => key?.startsWith(start),
  );
  const items: QueuedInteraction[] = [];
  for (const key of keys as string[]) {
    const item = readItem(storage.getItem(key), user);
    if (item) items.push(item);
    else storage.removeItem(key);
  }
  return items;
}

function readItem(stored: string | null, user: string): QueuedInteraction | null {
  try {
    const { queuedAt, data } = JSON.parse(stored!) as QueuedInteraction;
    return queuedAt > 0 && data.interaction_id ? { queuedAt, data, user, sentAt: null } : null;
  } catch {
    return null;
  }
}

/** Keeps a list still under the pointer: a row that is about to be clicked must not jump. Pure. */

/** A list as it is shown. */
export interface Steady {
  readonly order: readonly string[];
  /** How many rows stand elsewhere than they should. */
  readonly waiting: number;
}

/**
 * The order to show: as wanted, or, while it is `held`, as it was; then those who left are gone and
 * those who came are last.
 */
export function steady(shown: readonly string[], wanted: readonly string[], held: boolean): Steady {
  if (!held) return { order: wanted, waiting: 0 };
  const present = new Set(wanted);
  const kept = shown.filter((id) => present.has(id));
  const known = new Set(kept);
  const order = [...kept, ...wanted.filter((id) => !known.has(id))];
  return { order, waiting: order.filter((id, i) => id !== wanted[i]).length };
}

/** What speaks for a statement, each with the way it pulls. */

import type { Because } from "@aivo/realtime";

/** Nothing where there is nothing to say. */
export function BecauseList({ because }: { because: readonly Because[] | undefined }) {
  if (!because?.length) return null;
  return (
    <ul className="because">
      {because.map(({ code, direction, words }) => (
        <li key={code} data-direction={direction}>
          <span aria-hidden="true">{direction === "up" ? "↑" : "↓"}</span>
          <span className="hidden">{direction === "up" ? "pulls up:" : "pulls down:"}</span> {words}
        </li>
      ))}
    </ul>
  );
}

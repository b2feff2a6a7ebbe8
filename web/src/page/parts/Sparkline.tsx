/** A small line of the last minutes, beside a name. */

import { pathOf, type Point } from "./axis";

/** Points within a width of 100 and a height of 20; now is at the right. */
export function Sparkline({ points, label }: { points: readonly Point[]; label: string }) {
  return (
    <svg
      className="sparkline"
      viewBox="-2 -2 104 24"
      preserveAspectRatio="none"
      role="img"
      aria-label={label}
    >
      <line className="sparkline__ground" x1="0" x2="100" y1="20" y2="20" />
      <path className="sparkline__line" d={pathOf(points)} />
    </svg>
  );
}

/** Bars from 0 to 1. Drawn as SVG: their widths are attributes, not styles. */

const x = (share: number) => Math.max(0, Math.min(100, share * 100));

/** A bar, with the range in which the truth probably lies. */
export function LevelBar({ value, spread }: { value: number; spread?: number | undefined }) {
  return (
    <svg
      className="bar"
      viewBox="0 0 100 8"
      preserveAspectRatio="none"
      aria-hidden="true"
      focusable="false"
    >
      <rect className="bar__track" width="100" height="8" />
      <rect className="bar__fill" width={x(value)} height="8" />
      {spread !== undefined && (
        <rect
          className="bar__spread"
          x={x(value - spread)}
          y="3"
          width={x(value + spread) - x(value - spread)}
          height="2"
        />
      )}
    </svg>
  );
}

interface UsualProps {
  readonly value: number;
  /** Where it usually is; undefined while that is too early to tell. */
  readonly usual: readonly [low: number, high: number] | undefined;
}

/** Where a value stands, beside where it usually is. */
export function UsualBar({ value, usual }: UsualProps) {
  return (
    <svg
      className="bar bar--usual"
      viewBox="0 0 100 8"
      preserveAspectRatio="none"
      aria-hidden="true"
      focusable="false"
    >
      <rect className="bar__track" y="2" width="100" height="4" />
      {usual && (
        <rect
          className="bar__usual"
          x={x(usual[0])}
          y="1"
          width={x(usual[1]) - x(usual[0])}
          height="6"
        />
      )}
      <rect
        className="bar__here"
        x={Math.min(99, Math.max(0, x(value) - 0.5))}
        width="1.2"
        height="8"
      />
    </svg>
  );
}

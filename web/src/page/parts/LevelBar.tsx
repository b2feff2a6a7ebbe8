/**
 * A bar from 0 to 1, with the range in which the truth probably lies. Drawn as SVG: its widths are
 * attributes, not styles.
 */

export function LevelBar({ value, spread }: { value: number; spread?: number | undefined }) {
  const x = (share: number) => Math.max(0, Math.min(100, share * 100));
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

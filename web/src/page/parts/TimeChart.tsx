/**
 * Lines over time, drawn as SVG in the page's own colours. A moment is read by pointing, by touch
 * or by the arrow keys. Knows nothing of learners.
 */

import { useEffect, useMemo, useRef, useState, type KeyboardEvent, type PointerEvent } from "react";
import {
  countTicks,
  nearest,
  pathOf,
  thinned,
  timeRange,
  timeTicks,
  type Point,
  type Range,
} from "./axis";
import "./chart.css";

/** One line. */
export interface Line {
  /** Says which colour it has, in the style sheet. */
  readonly key: string;
  readonly label: string;
  readonly dash?: string | undefined;
  /** One value per moment; null breaks the line. */
  readonly values: readonly (number | null)[];
  /** The range in which its values usually are. */
  readonly usual?: readonly [low: number, high: number] | undefined;
}

/** Something that happened, drawn below the lines. */
export interface Mark {
  readonly at: number;
  readonly kind: "right" | "wrong" | "hint";
}

interface Props {
  readonly label: string;
  /** Seconds since 1970, growing. */
  readonly times: readonly number[];
  readonly lines: readonly Line[];
  readonly marks?: readonly Mark[];
  /** What a reader who does not see it should know. */
  readonly summary: string;
  readonly unit: "percent" | "count";
  readonly range?: Range | undefined;
  readonly height?: number;
  /** Says more about a moment, by its index. */
  readonly describe?: (index: number) => string | null;
  /** A moment was chosen, by its index. */
  readonly pick?: (index: number) => void;
}

const left = 44;
const right = 10;
const top = 8;
const axisHeight = 24;
const laneHeight = 18;
/** So few moments are seen better as dots. */
const mostDots = 24;

/** A chart as wide as its place. */
export function TimeChart(props: Props) {
  const { times, lines, marks = [], unit, height = 260 } = props;
  const place = useRef<HTMLDivElement>(null);
  const width = useWidth(place);
  const [at, setAt] = useState<number | null>(null);
  const range = props.range ?? timeRange(times[0] ?? null, times.at(-1) ?? null, Date.now() / 1e3);
  const [from, to] = range;
  const bottom = height - axisHeight - (marks.length > 0 ? laneHeight : 0);
  const steps = unit === "percent" ? [0, 0.25, 0.5, 0.75, 1] : countTicks(greatest(lines));
  const x = (second: number) => left + ((second - from) / (to - from)) * (width - left - right);
  const y = (value: number) => bottom - (value / steps.at(-1)!) * (bottom - top);
  const words = (value: number) =>
    unit === "percent" ? `${Math.round(value * 100)} %` : String(Math.round(value * 10) / 10);
  const paths = useMemo(
    () => lines.map(({ values }) => pathOf(thinned(placed(times, values, range, x, y), width))),
    [times, lines, from, to, width, bottom, steps.at(-1)],
  );
  const index = at === null ? null : Math.min(at, times.length - 1);
  const told = index === null ? null : tell(props, index, words);

  const point = (event: PointerEvent) => {
    const { left: edge } = place.current!.getBoundingClientRect();
    const share = (event.clientX - edge - left) / Math.max(1, width - left - right);
    setAt(nearest(times, from + share * (to - from)));
  };
  const press = (event: KeyboardEvent) => {
    const last = times.length - 1;
    const moves: Readonly<Record<string, number>> = {
      ArrowLeft: (index ?? last + 1) - 1,
      ArrowRight: (index ?? last - 1) + 1,
      PageUp: (index ?? last) - 10,
      PageDown: (index ?? last) + 10,
      Home: 0,
      End: last,
    };
    const target = moves[event.key];
    if (target !== undefined) {
      setAt(Math.max(0, Math.min(last, target)));
      event.preventDefault();
    } else if (event.key === "Enter" && index !== null) props.pick?.(index);
    else if (event.key === "Escape") setAt(null);
  };
  return (
    <figure className="chart" data-drawn={width > 0}>
      <figcaption className="hidden">{props.summary}</figcaption>
      <div
        ref={place}
        className="chart__place"
        role="slider"
        tabIndex={0}
        aria-label={props.label}
        aria-valuemin={0}
        aria-valuemax={Math.max(0, times.length - 1)}
        aria-valuenow={index ?? Math.max(0, times.length - 1)}
        aria-valuetext={told ?? props.summary}
        data-pick={props.pick !== undefined}
        onPointerMove={point}
        onPointerDown={point}
        onPointerLeave={() => setAt(null)}
        onClick={() => index !== null && props.pick?.(index)}
        onKeyDown={press}
        onBlur={() => setAt(null)}
      >
        <svg width="100%" height={height} aria-hidden="true" focusable="false">
          {steps.map((value) => (
            <g key={value}>
              <line
                className="chart__grid"
                x1={left}
                x2={width - right}
                y1={y(value)}
                y2={y(value)}
              />
              <text className="chart__text" x={left - 8} y={y(value) + 4} textAnchor="end">
                {words(value)}
              </text>
            </g>
          ))}
          {timeTicks(range, Math.max(2, width / 90)).map(({ at: second, label }) => (
            <g key={second}>
              <line className="chart__grid" x1={x(second)} x2={x(second)} y1={top} y2={bottom} />
              <text className="chart__text" x={x(second)} y={height - 6} textAnchor="middle">
                {label}
              </text>
            </g>
          ))}
          {lines.map(
            ({ key, usual }) =>
              usual && (
                <rect
                  key={key}
                  className="chart__usual"
                  data-line={key}
                  x={left}
                  width={Math.max(0, width - left - right)}
                  y={y(usual[1])}
                  height={Math.max(1, y(usual[0]) - y(usual[1]))}
                />
              ),
          )}
          {lines.map(({ key, dash }, i) => (
            <path
              key={key}
              className="chart__line"
              data-line={key}
              d={paths[i]}
              strokeDasharray={dash}
            />
          ))}
          {times.length <= mostDots &&
            lines.flatMap(({ key, values }) =>
              values.map((value, i) =>
                value === null || times[i]! < from ? null : (
                  <circle
                    key={`${key}/${i}`}
                    className="chart__dot"
                    data-line={key}
                    cx={x(times[i]!)}
                    cy={y(value)}
                    r="3"
                  />
                ),
              ),
            )}
          <Marks marks={marks} range={range} x={x} y={bottom + laneHeight / 2 + 2} />
          {index !== null && (
            <g>
              <line
                className="chart__cursor"
                x1={x(times[index]!)}
                x2={x(times[index]!)}
                y1={top}
                y2={bottom}
              />
              {lines.map(({ key, values }) =>
                values[index] == null ? null : (
                  <circle
                    key={key}
                    className="chart__dot"
                    data-line={key}
                    cx={x(times[index]!)}
                    cy={y(values[index])}
                    r="4"
                  />
                ),
              )}
            </g>
          )}
        </svg>
      </div>
      <p className="chart__readout" aria-hidden="true">
        {told ?? "Point at the chart to read its values."}
      </p>
    </figure>
  );
}

/** What happened, in a lane of its own: by shape as well as by colour. */
function Marks({
  marks,
  range: [from, to],
  x,
  y,
}: {
  marks: readonly Mark[];
  range: Range;
  x: (second: number) => number;
  y: number;
}) {
  const shapes = {
    right: "M-3,0l2.5,3l4.5,-6",
    wrong: "M-3,-3l6,6M3,-3l-6,6",
    hint: "M0,-3.5v7M-3.5,0h7",
  };
  return marks
    .filter(({ at }) => at >= from && at <= to)
    .map(({ at, kind }, i) => (
      <path
        key={i}
        className="chart__mark"
        data-kind={kind}
        d={shapes[kind]}
        transform={`translate(${x(at).toFixed(1)},${y})`}
      />
    ));
}

function tell(
  { times, lines, describe }: Props,
  index: number,
  words: (value: number) => string,
): string | null {
  const second = times[index];
  if (second === undefined) return null;
  const values = lines.flatMap(({ label, values: all }) =>
    all[index] == null ? [] : `${label} ${words(all[index])}`,
  );
  const more = describe?.(index);
  return [momentInWords(second), ...(more ? [more] : []), ...values].join("  ·  ");
}

function momentInWords(second: number): string {
  const at = new Date(second * 1_000);
  const today = at.toDateString() === new Date().toDateString();
  const date = today
    ? ""
    : `${at.toLocaleDateString(undefined, { day: "numeric", month: "short" })}, `;
  return date + at.toLocaleTimeString();
}

function placed(
  times: readonly number[],
  values: readonly (number | null)[],
  [from, to]: Range,
  x: (second: number) => number,
  y: (value: number) => number,
): readonly Point[] {
  return times.flatMap((second, i) => {
    if (second < from || second > to) return [];
    const value = values[i];
    return [value == null ? null : ([x(second), y(value)] as const)];
  });
}

function greatest(lines: readonly Line[]): number {
  return lines.reduce(
    (most, { values }) => values.reduce<number>((a, b) => Math.max(a, b ?? 0), most),
    0,
  );
}

function useWidth(place: { readonly current: HTMLElement | null }): number {
  const [width, setWidth] = useState(0);
  useEffect(() => {
    const element = place.current;
    if (!element) return undefined;
    const observer = new ResizeObserver(() => setWidth(element.clientWidth));
    observer.observe(element);
    return () => observer.disconnect();
  }, [place]);
  return width;
}

/** Lines over time, drawn by uPlot in the page's own colours. Knows nothing of learners. */

import { useEffect, useRef, useState } from "react";
import uPlot from "uplot";

/** One line. */
export interface Line {
  readonly label: string;
  /** The CSS variable with its colour. */
  readonly colour: string;
  readonly dash?: readonly number[] | undefined;
  readonly shown: boolean;
}

interface Props {
  readonly lines: readonly Line[];
  /** Seconds since 1970, then one row per line; null breaks a line. */
  readonly data: uPlot.AlignedData;
  /** What a reader who does not see it should know. */
  readonly summary: string;
  readonly unit: "percent" | "count";
  readonly height?: number;
}

/** What stands where the values will. */
const invitation = "Point at the chart to read its values.";

/** A chart as wide as its place; it keeps up with new data, width and colours. */
export function TimeChart({ lines, data, summary, unit, height = 260 }: Props) {
  const place = useRef<HTMLDivElement>(null);
  const chart = useRef<uPlot | null>(null);
  const theme = useTheme();
  const newest = useRef(data);
  newest.current = data;
  const readout = useRef<HTMLParagraphElement>(null);
  const look = JSON.stringify([lines, unit, height, theme]);
  useEffect(() => {
    const element = place.current;
    if (!element) return undefined;
    const made = new uPlot(
      optionsFor(
        element,
        lines,
        unit,
        height,
        (text) => readout.current && (readout.current.textContent = text),
      ),
      newest.current,
      element,
    );
    chart.current = made;
    const observer = new ResizeObserver(() => made.setSize({ width: element.clientWidth, height }));
    observer.observe(element);
    return () => {
      observer.disconnect();
      made.destroy();
      chart.current = null;
    };
    // `look` stands for `lines`, whose identity changes with every rendering.
  }, [look]);
  useEffect(() => chart.current?.setData(data), [data]);
  return (
    <>
      <div className="chart" ref={place} role="img" aria-label={summary} />
      <p className="chart__readout" ref={readout} aria-hidden="true">
        {invitation}
      </p>
    </>
  );
}

function optionsFor(
  element: HTMLElement,
  lines: readonly Line[],
  unit: Props["unit"],
  height: number,
  tell: (text: string) => void,
): uPlot.Options {
  const colour = colourReader(element);
  const axis = {
    stroke: colour("--chart-text"),
    grid: { stroke: colour("--chart-grid"), width: 1 },
    ticks: { show: false },
    font: "12px system-ui, sans-serif",
  };
  const scale = unit === "percent" ? { range: [0, 1] as [number, number] } : { range: atLeastOne };
  const words = (value: number) =>
    unit === "percent" ? `${Math.round(value * 100)} %` : String(Math.round(value * 10) / 10);
  /** Says in text what the cursor points at. */
  const point = ({ cursor: { idx }, data }: uPlot) => {
    if (idx == null || data[0][idx] === undefined) return tell(invitation);
    const at = new Date(data[0][idx] * 1_000).toLocaleTimeString();
    const values = lines.flatMap(({ label, shown }, i) =>
      shown && data[i + 1]?.[idx] != null ? `${label} ${words(data[i + 1]![idx]!)}` : [],
    );
    tell([at, ...values].join("  ·  "));
  };
  return {
    width: element.clientWidth,
    height,
    legend: { show: false },
    hooks: { setCursor: [point] },
    cursor: { y: false, drag: { x: false, y: false }, points: { size: 7 } },
    scales: { x: { time: true, range: (_, first, last) => timeRange(first, last) }, y: scale },
    axes: [
      { ...axis, size: 28, space: 80, values: clockTimes },
      { ...axis, size: 48, space: 44, values: (_, splits) => splits.map(words) },
    ],
    series: [
      {},
      ...lines.map(({ label, colour: name, dash, shown }) => ({
        label,
        show: shown,
        stroke: colour(name),
        width: 2,
        // A line has two ends; what has only one is a dot.
        points: { show: ({ data }: uPlot) => data[0].length < 3 },
        ...(dash ? { dash: [...dash] } : {}),
      })),
    ],
  };
}

/** Resolves variables to colours a canvas understands: `light-dark()` it does not. */
function colourReader(element: HTMLElement): (name: string) => string {
  return (name) => {
    const probe = element.appendChild(document.createElement("span"));
    probe.style.color = `var(${name})`;
    const { color } = getComputedStyle(probe);
    probe.remove();
    return color;
  };
}

/** A range in which even a first answer has its place: at least five minutes. In seconds. */
export function timeRange(first: number | null, last: number | null): [number, number] {
  const to = last ?? Date.now() / 1_000;
  const from = first ?? to;
  const missing = Math.max(0, leastSpanS - (to - from));
  return [from - missing * 0.8, to + missing * 0.2];
}

const leastSpanS = 300;

function atLeastOne(_: uPlot, __: number, max: number): [number, number] {
  return [0, Math.max(1, Number.isFinite(max) ? max * 1.1 : 1)];
}

function clockTimes(_: uPlot, splits: number[]): string[] {
  const span = (splits.at(-1) ?? 0) - (splits[0] ?? 0);
  const short = splits.length > 1 && splits[1]! - splits[0]! < 60;
  return splits.map((at) => {
    const date = new Date(at * 1_000);
    if (span > 2 * 86_400)
      return date.toLocaleDateString(undefined, { day: "numeric", month: "short" });
    return date.toLocaleTimeString(undefined, {
      hour: "2-digit",
      minute: "2-digit",
      ...(short ? { second: "2-digit" } : {}),
    });
  });
}

/** Changes when the colours do: canvas does not follow CSS by itself. */
function useTheme(): string {
  const [theme, setTheme] = useState("");
  useEffect(() => {
    const dark = matchMedia("(prefers-color-scheme: dark)");
    const look = () =>
      setTheme(`${document.documentElement.dataset["theme"] ?? ""}/${dark.matches}`);
    look();
    const observer = new MutationObserver(look);
    observer.observe(document.documentElement, { attributeFilter: ["data-theme"] });
    dark.addEventListener("change", look);
    return () => {
      observer.disconnect();
      dark.removeEventListener("change", look);
    };
  }, []);
  return theme;
}

/** Where things stand on a chart: its range of time, its ticks, and which points are drawn. Pure. */

/** Seconds since 1970, from and to. */
export type Range = readonly [from: number, to: number];

/** Even a first answer has its place within so many seconds. */
const leastSpanS = 300;

/** A range around what there is, of at least five minutes; around `nowS` while there is nothing. */
export function timeRange(first: number | null, last: number | null, nowS: number): Range {
  const to = last ?? nowS;
  const from = first ?? to;
  const missing = Math.max(0, leastSpanS - (to - from));
  return [from - missing * 0.8, to + missing * 0.2];
}

const minute = 60;
const hour = 3_600;
const day = 86_400;
const steps = [
  ...[10, 30].map((n) => n),
  ...[1, 2, 5, 10, 15, 30].map((n) => n * minute),
  ...[1, 2, 3, 6, 12].map((n) => n * hour),
  ...[1, 2, 7, 14, 28].map((n) => n * day),
];

/** A moment that a chart names. */
export interface Tick {
  readonly at: number;
  readonly label: string;
}

/** Round moments of the local clock within a range, at most `most` of them. */
export function timeTicks([from, to]: Range, most: number, locale?: string): readonly Tick[] {
  const span = to - from;
  const step = steps.find((one) => span / one <= Math.max(1, most)) ?? steps.at(-1)!;
  const at = new Date(from * 1_000);
  at.setHours(0, 0, 0, 0);
  const ticks: Tick[] = [];
  // Whole days are stepped by the calendar: one of them in a year has 23 hours.
  for (let moment = at.getTime() / 1_000; moment <= to; moment = next(at, moment, step))
    if (moment >= from) ticks.push({ at: moment, label: nameOf(moment, step, locale) });
  return ticks;
}

function next(at: Date, moment: number, step: number): number {
  if (step < day) return moment + step;
  at.setDate(at.getDate() + step / day);
  return at.getTime() / 1_000;
}

function nameOf(moment: number, step: number, locale: string | undefined): string {
  const at = new Date(moment * 1_000);
  if (step >= day || (at.getHours() === 0 && at.getMinutes() === 0 && at.getSeconds() === 0))
    return at.toLocaleDateString(locale, { day: "numeric", month: "short" });
  const seconds = step < minute ? ({ second: "2-digit" } as const) : {};
  return at.toLocaleTimeString(locale, { hour: "2-digit", minute: "2-digit", ...seconds });
}

/** Round values from 0 to at least 1, four steps of them. */
export function countTicks(greatest: number): readonly number[] {
  const rough = Math.max(1, greatest) / 4;
  const power = 10 ** Math.floor(Math.log10(rough));
  const step = [1, 2, 2.5, 5, 10].map((n) => n * power).find((one) => one >= rough)!;
  return [0, 1, 2, 3, 4].map((n) => n * step);
}

/** The index of the moment nearest to `at`; null where there is none. `times` grow. */
export function nearest(times: readonly number[], at: number): number | null {
  if (times.length === 0) return null;
  let [low, high] = [0, times.length - 1];
  while (high - low > 1) {
    const middle = (low + high) >> 1;
    if (times[middle]! < at) low = middle;
    else high = middle;
  }
  return Math.abs(times[low]! - at) <= Math.abs(times[high]! - at) ? low : high;
}

/** A point of a line; null where the line is broken. */
export type Point = readonly [x: number, y: number] | null;

/**
 * The points of a line as they are drawn: where more than two would share a column of pixels, their
 * mean instead.
 */
export function thinned(points: readonly Point[], columns: number): readonly Point[] {
  if (points.length <= 2 * columns) return points;
  const drawn: Point[] = [];
  let [column, sum, count] = [NaN, 0, 0];
  const close = () => {
    if (count > 0) drawn.push([column + 0.5, sum / count]);
    count = 0;
  };
  for (const point of points) {
    if (point === null || Math.floor(point[0]) !== column) close();
    if (point === null) {
      if (drawn.at(-1) !== null) drawn.push(null);
      column = NaN;
      continue;
    }
    column = Math.floor(point[0]);
    sum = count === 0 ? point[1] : sum + point[1];
    count += 1;
  }
  close();
  return drawn;
}

/** An SVG path through points; a lone one becomes a dot where line ends are round. */
export function pathOf(points: readonly Point[]): string {
  let pen = "M";
  let path = "";
  for (const point of points) {
    if (point === null) pen = "M";
    else {
      const [x, y] = [point[0].toFixed(1), point[1].toFixed(1)];
      path += pen === "M" ? `M${x},${y}h0` : `L${x},${y}`;
      pen = "L";
    }
  }
  return path;
}

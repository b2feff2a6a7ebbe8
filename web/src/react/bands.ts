/** Says how a level stands to what is usual for a learner. Display only. */

import type { Band } from "../core/frames";
import type { LevelDescription, Tone } from "./levels";

const words: Readonly<Record<Band, string>> = {
  much_lower: "much lower than usual",
  lower: "lower than usual",
  as_usual: "as usual",
  higher: "higher than usual",
  much_higher: "much higher than usual",
  too_early: "too early to tell",
};

/** `much higher than usual`. What a newer server may say is as good as nothing. */
export function bandInWords(band: Band): string {
  return words[band] ?? words.too_early;
}

const heights: Readonly<Record<Band, number>> = {
  much_lower: -2,
  lower: -1,
  as_usual: 0,
  higher: 1,
  much_higher: 2,
  too_early: 0,
};

/** How far a band lies on the side that is not wished for: −2 to 2. */
export function unwished({ burden }: LevelDescription, band: Band): number {
  const height = heights[band] ?? 0;
  return burden ? height : -height;
}

/** How a band is coloured. */
export function toneOfBand(level: LevelDescription, band: Band): Tone {
  const weight = unwished(level, band);
  return weight > 1 ? "alert" : weight > 0 ? "notice" : "calm";
}

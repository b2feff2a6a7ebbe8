/** Says how a level stands to what is usual for this learner. Display only; pure. */

import type { Band, CognitiveState, Meaning, TooEarly } from "@aivo/realtime";
import { levels, type LevelDescription, type Tone } from "@aivo/realtime/react";

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

const signs: Readonly<Record<Band, string>> = {
  much_lower: "▼▼",
  lower: "▼",
  as_usual: "–",
  higher: "▲",
  much_higher: "▲▲",
  too_early: "·",
};

/** The same where there is no room for words. */
export function signOf(band: Band): string {
  return signs[band] ?? signs.too_early;
}

const heights: Readonly<Record<Band, number>> = {
  much_lower: -2,
  lower: -1,
  as_usual: 0,
  higher: 1,
  much_higher: 2,
  too_early: 0,
};

/** How a band is coloured: by how far it lies on the side that is not wished for. */
export function toneOfBand({ burden }: LevelDescription, band: Band): Tone {
  const height = heights[band] ?? 0;
  const unwished = burden ? height : -height;
  return unwished > 1 ? "alert" : unwished > 0 ? "notice" : "calm";
}

/** The levels that are not as usual, those that stand out most and are least wished for first. */
export function unusual(bands: Meaning["bands"]): readonly (keyof CognitiveState)[] {
  return levels
    .filter(({ key }) => heights[bands[key]])
    .map((level) => ({ level, band: heights[bands[level.key]] }))
    .map(({ level, band }) => ({ key: level.key, weight: level.burden ? band : -band }))
    .sort((a, b) => b.weight - a.weight)
    .map(({ key }) => key);
}

/** What a row says of all six: `Frustration much higher, fatigue higher than usual`. */
export function bandsInWords(bands: Meaning["bands"], early: TooEarly | undefined): string {
  if (early) return early.sentence;
  const told = unusual(bands).map((key) => {
    const { label } = levels.find((level) => level.key === key)!;
    return `${label.toLowerCase()} ${words[bands[key]].replace(" than usual", "")}`;
  });
  if (told.length === 0) return "Everything as usual.";
  const sentence = `${told.join(", ")} than usual.`;
  return sentence[0]!.toUpperCase() + sentence.slice(1);
}

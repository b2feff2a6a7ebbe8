/** Says in a row how levels stand to what is usual for this learner. Display only; pure. */

import type { Band, CognitiveState, Meaning, TooEarly } from "@aivo/realtime";
import { bandInWords, levels, unwished } from "@aivo/realtime/react";

const signs: Readonly<Record<Band, string>> = {
  much_lower: "▼▼",
  lower: "▼",
  as_usual: "–",
  higher: "▲",
  much_higher: "▲▲",
  too_early: "·",
};

/** A band where there is no room for words. */
export function signOf(band: Band): string {
  return signs[band] ?? signs.too_early;
}

/** The levels that are not as usual, those that stand out most and are least wished for first. */
export function unusual(bands: Meaning["bands"]): readonly (keyof CognitiveState)[] {
  return levels
    .map((level) => ({ key: level.key, weight: unwished(level, bands[level.key]) }))
    .filter(({ weight }) => weight !== 0)
    .sort((a, b) => b.weight - a.weight)
    .map(({ key }) => key);
}

/** What a row says of all six: `Frustration much higher, fatigue higher than usual`. */
export function bandsInWords(bands: Meaning["bands"], early: TooEarly | undefined): string {
  if (early) return early.sentence;
  const told = unusual(bands).map((key) => {
    const { label } = levels.find((level) => level.key === key)!;
    return `${label.toLowerCase()} ${bandInWords(bands[key]).replace(" than usual", "")}`;
  });
  if (told.length === 0) return "Everything as usual.";
  const sentence = `${told.join(", ")} than usual.`;
  return sentence[0]!.toUpperCase() + sentence.slice(1);
}

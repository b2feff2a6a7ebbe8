/** How the six levels are named and judged for people. Display only: what to do about them is the server's advice. */

import type { CognitiveState } from "../core/frames";

/** One of the six levels as it is shown. */
export interface LevelDescription {
  readonly key: keyof CognitiveState;
  readonly label: string;
  /** Whether much of it is a burden (load, frustration, fatigue) or a good thing. */
  readonly burden: boolean;
}

/** The order in which they are shown: what helps first, then what weighs. */
export const levels: readonly LevelDescription[] = [
  { key: "engagement_level", label: "Engagement", burden: false },
  { key: "motivation_level", label: "Motivation", burden: false },
  { key: "confidence_level", label: "Confidence", burden: false },
  { key: "cognitive_load", label: "Cognitive load", burden: true },
  { key: "frustration_level", label: "Frustration", burden: true },
  { key: "fatigue_level", label: "Fatigue", burden: true },
];

/** `calm` asks for nothing, `notice` for an eye on it, `alert` for somebody. */
export type Tone = "calm" | "notice" | "alert";

/** How a level is coloured. */
export function toneOf({ burden }: LevelDescription, value: number): Tone {
  const weight = burden ? value : 1 - value;
  if (weight >= 0.75) return "alert";
  return weight >= 0.55 ? "notice" : "calm";
}

/** The level in a word, so that colour is never the only sign. */
export function wordOf(value: number): string {
  if (value < 0.25) return "low";
  if (value < 0.5) return "moderate";
  return value < 0.75 ? "raised" : "high";
}

/** A share as a person reads it: `73 %`. */
export function percent(value: number): string {
  return `${Math.round(value * 100)} %`;
}

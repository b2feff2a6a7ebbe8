/**
 * How the six levels are named and judged for people. Display only: what to do about them is the
 * server's advice.
 */

import type { CognitiveState } from "../core/frames";

/** One of the six levels as it is shown. */
export interface LevelDescription {
  readonly key: keyof CognitiveState;
  readonly label: string;
  /** Whether much of it is a burden (load, frustration, fatigue) or a good thing. */
  readonly burden: boolean;
  /**
   * Where it asks for attention: above for a burden, below otherwise. The server reports the
   * crossing of the same value.
   */
  readonly alertAt: number;
}

/** The order in which they are shown: what helps first, then what weighs. */
export const levels: readonly LevelDescription[] = [
  { key: "engagement_level", label: "Engagement", burden: false, alertAt: 0.4 },
  { key: "motivation_level", label: "Motivation", burden: false, alertAt: 0.35 },
  { key: "confidence_level", label: "Confidence", burden: false, alertAt: 0.35 },
  { key: "cognitive_load", label: "Cognitive load", burden: true, alertAt: 0.8 },
  { key: "frustration_level", label: "Frustration", burden: true, alertAt: 0.7 },
  { key: "fatigue_level", label: "Fatigue", burden: true, alertAt: 0.7 },
];

/** `calm` asks for nothing, `notice` for an eye on it, `alert` for somebody. */
export type Tone = "calm" | "notice" | "alert";

/** How near to its alert a level is noticed. */
const nearness = 0.1;

/** How a level is coloured. */
export function toneOf({ burden, alertAt }: LevelDescription, value: number): Tone {
  const beyond = burden ? value - alertAt : alertAt - value;
  if (beyond > 0) return "alert";
  return beyond > -nearness ? "notice" : "calm";
}

/** The level in a word, so that colour is never the only sign. */
export function wordOf(value: number): string {
  if (value < 0.2) return "low";
  if (value < 0.4) return "rather low";
  if (value < 0.6) return "medium";
  return value < 0.8 ? "rather high" : "high";
}

/** A share as a person reads it: `73 %`. */
export function percent(value: number): string {
  return `${Math.round(value * 100)} %`;
}

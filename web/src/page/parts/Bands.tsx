/** The six levels in a row, each by how it stands to what is usual for the learner. */

import type { CognitiveState, Meaning } from "@aivo/realtime";
import {
  bandInWords,
  levels,
  percent,
  toneOfBand,
  type LevelDescription,
} from "@aivo/realtime/react";
import { signOf } from "./bands";

/** Fits over a narrow column. */
export function shortLabel({ key, label }: LevelDescription): string {
  return key === "cognitive_load" ? "Load" : label;
}

interface Props {
  readonly state: CognitiveState;
  readonly meaning: Meaning | undefined;
  /** Whether the numbers are shown as well. */
  readonly numbers: boolean;
}

/** Arrows where a level is not as usual, and numbers where they are asked for. */
export function Bands({ state, meaning, numbers }: Props) {
  return (
    <ul className="bands" aria-label="Levels">
      {levels.map((level) => {
        const band = meaning?.bands[level.key] ?? "too_early";
        return (
          <li key={level.key} data-band={band} data-tone={toneOfBand(level, band)}>
            <span className="bands__label">{shortLabel(level)}</span>
            <span className="hidden">{bandInWords(band)}</span>
            <span className="bands__sign" aria-hidden="true" title={bandInWords(band)}>
              {signOf(band)}
            </span>
            {numbers && <span className="bands__value">{percent(state[level.key])}</span>}
          </li>
        );
      })}
    </ul>
  );
}

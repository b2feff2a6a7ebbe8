/**
 * Shows how good the connection is, and what happens when there is none, in words that everybody
 * understands.
 */

import { useEffect, useState } from "react";
import type { QualityLevel } from "../core/quality";
import { useWebSocketContext } from "./context";
import { useConnectionQuality } from "./useConnectionQuality";
import type { WebSocketHandle } from "./useWebSocket";

/** Props of `ConnectionQualityIndicator`. */
export interface ConnectionQualityIndicatorProps {
  /** Also show round trip, age and gaps; default false (they are in the tooltip). */
  showDetails?: boolean | undefined;
  className?: string | undefined;
}

const bars: Readonly<Record<QualityLevel, number>> = {
  excellent: 4,
  good: 3,
  fair: 2,
  poor: 1,
  offline: 0,
};

/** Signal bars, a word, and while offline what is being done about it. */
export function ConnectionQualityIndicator({
  showDetails = false,
  className = "",
}: ConnectionQualityIndicatorProps) {
  const connection = useWebSocketContext();
  const { level, rttMs, ageMs, gaps } = useConnectionQuality();
  const seconds = useSecondsUntil(connection);
  const facts = [
    rttMs !== null && `round trip ${Math.round(rttMs)} ms`,
    ageMs !== null && `up to date ${Math.round(ageMs / 1_000)} s ago`,
    gaps > 0 && `${gaps} ${gaps === 1 ? "gap" : "gaps"} in the last minute`,
  ]
    .filter(Boolean)
    .join(" · ");
  return (
    <div className={`aivo-quality ${className}`.trim()} data-level={level} title={facts}>
      <Bars lit={bars[level]} />
      <span role="status">{wordsFor(level, connection)}</span>
      {seconds !== null && (
        <span className="aivo-quality__more" aria-hidden="true">
          next try in {seconds} s
        </span>
      )}
      {connection.queueSize > 0 && !connection.isConnected && (
        <span className="aivo-quality__more" role="status">
          {connection.queueSize === 1 ? "1 answer is" : `${connection.queueSize} answers are`} kept
          and will be sent
        </span>
      )}
      {showDetails && facts && <span className="aivo-quality__more">{facts}</span>}
      {level === "offline" &&
        (connection.status === "error" || connection.status === "reconnecting") && (
          <button className="aivo-quality__retry" type="button" onClick={connection.connect}>
            Connect now
          </button>
        )}
    </div>
  );
}

function wordsFor(level: QualityLevel, { status, closeCode }: WebSocketHandle): string {
  if (level !== "offline") return `Connection ${level}`;
  switch (status) {
    case "connecting":
      return "Connecting";
    case "reconnecting":
      return "Connection lost, reconnecting";
    case "error":
      return closeCode === 4403 ? "Not allowed to connect" : "Could not connect";
    default:
      return "Not connected";
  }
}

/**
 * Whole seconds until the next attempt; null while none is planned. Not announced: nobody wants to
 * hear a countdown.
 */
function useSecondsUntil({ client, retryAt }: WebSocketHandle): number | null {
  const [now, setNow] = useState(0);
  useEffect(() => {
    if (retryAt === null) return undefined;
    const tick = () => setNow(client.clock.now());
    tick();
    const timer = setInterval(tick, 500);
    return () => clearInterval(timer);
  }, [client, retryAt]);
  return retryAt === null || now === 0 ? null : Math.max(0, Math.ceil((retryAt - now) / 1_000));
}

function Bars({ lit }: { lit: number }) {
  return (
    <svg
      className="aivo-quality__bars"
      viewBox="0 0 19 14"
      width="19"
      height="14"
      aria-hidden="true"
      focusable="false"
    >
      {[0, 1, 2, 3].map((bar) => (
        <rect
          key={bar}
          data-lit={bar < lit}
          x={bar * 5}
          y={9 - bar * 3}
          width="4"
          height={5 + bar * 3}
          rx="1"
        />
      ))}
    </svg>
  );
}

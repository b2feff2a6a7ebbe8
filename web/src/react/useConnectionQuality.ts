/** The quality of the connection, kept current while a component shows it. */

import { useEffect, useState } from "react";
import { connectionQuality, type ConnectionQuality } from "../core/quality";
import { useWebSocketContext } from "./context";

/**
 * The quality now. It is looked at with every change and once a second, since it worsens by mere
 * waiting.
 */
export function useConnectionQuality(): ConnectionQuality {
  const { client } = useWebSocketContext();
  const [quality, setQuality] = useState(() => connectionQuality(client.state, client.clock.now()));
  useEffect(() => {
    const look = () =>
      setQuality((old) => same(old, connectionQuality(client.state, client.clock.now())));
    look();
    const stop = client.subscribe(look);
    const timer = setInterval(look, 1_000);
    return () => {
      stop();
      clearInterval(timer);
    };
  }, [client]);
  return quality;
}

/** The old value when a reader would see no difference. */
function same(old: ConnectionQuality, next: ConnectionQuality): ConnectionQuality {
  const seconds = ({ ageMs }: ConnectionQuality) =>
    ageMs === null ? null : Math.floor(ageMs / 1_000);
  const equal =
    old.level === next.level &&
    old.rttMs === next.rttMs &&
    old.gaps === next.gaps &&
    seconds(old) === seconds(next);
  return equal ? old : next;
}

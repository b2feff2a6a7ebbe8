/**
 * Says in a sentence what is wrong with the connection and what happens about it; nothing while all
 * is well.
 */

import { useWebSocketContext } from "@aivo/realtime/react";
import { useEffect, useState } from "react";

/** Breaks shorter than this mend themselves before anybody would have read about them. */
const patienceMs = 1_500;

/** The bar below the header. */
export function Notices() {
  const { isConnected, status, queueSize, client } = useWebSocketContext();
  const lost = useLasting(!isConnected && status !== "disconnected", patienceMs);
  const [given, setGiven] = useState<string | null>(null);
  useEffect(
    () => client.on("failed", ({ error }) => setGiven(givenUp(error.code, error.message))),
    [client],
  );
  const online = useOnline();
  const kept =
    queueSize === 0
      ? ""
      : queueSize === 1
        ? " One answer is kept here and will be sent."
        : ` ${queueSize} answers are kept here and will be sent.`;
  const text = !lost
    ? null
    : online
      ? `The connection to the server is interrupted; it is being restored. What you see is the last known state.${kept}`
      : `This device is offline. You can go on: everything is sent when the network is back.${kept}`;
  return (
    <div className="notices">
      <p className="notices__lost" role="status" hidden={text === null}>
        {text}
      </p>
      {given && (
        <p className="notices__failed" role="alert">
          {given}
          <button className="button button--quiet" type="button" onClick={() => setGiven(null)}>
            Understood
          </button>
        </p>
      )}
    </div>
  );
}

function givenUp(code: string, message: string): string | null {
  if (code === "cleared") return null;
  if (code === "forbidden")
    return "The server did not accept an answer: you may not answer for this learner.";
  return `An answer could not be recorded: ${message}.`;
}

/** True once a condition has held for a while, false as soon as it does not. */
function useLasting(condition: boolean, ms: number): boolean {
  const [lasting, setLasting] = useState(false);
  useEffect(() => {
    if (!condition) return undefined;
    const timer = setTimeout(() => setLasting(true), ms);
    return () => {
      clearTimeout(timer);
      setLasting(false);
    };
  }, [condition, ms]);
  return condition && lasting;
}

function useOnline(): boolean {
  const [online, setOnline] = useState(navigator.onLine);
  useEffect(() => {
    const look = () => setOnline(navigator.onLine);
    const stop = new AbortController();
    addEventListener("online", look, stop);
    addEventListener("offline", look, stop);
    return () => stop.abort();
  }, []);
  return online;
}

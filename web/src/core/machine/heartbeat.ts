/** Keepalive and token lifetime of the open connection: is it alive, how far is it, when does its token run out. */

import type { PongFrame } from "../frames";
import type { Step } from "./step";

/** Look again when the silence would have become too long. */
export function armHeartbeat(step: Step): void {
  const silence = step.now - (step.state.lastInboundAt ?? step.now);
  step.after("heartbeat", Math.max(1_000, step.config.heartbeatMs - silence));
}

/** Ping when nothing came for a while, or when the last measured round trip is old. */
export function onHeartbeat(step: Step): void {
  const { state, config } = step;
  if (state.phase !== "open") return;
  const silent = step.now - (state.lastInboundAt ?? 0) >= config.heartbeatMs;
  if (silent || step.now - state.rttAt >= config.rttMaxAgeMs) sendPing(step);
  armHeartbeat(step);
}

/** Ask for a sign of life, unless one is awaited already. */
export function sendPing(step: Step): void {
  if (step.state.phase !== "open" || step.state.ping !== null) return;
  const id = step.nextId("ping");
  step.set({ ping: { id, sentAt: step.now } });
  step.send({ type: "ping", id });
  step.after("pong", step.config.pongTimeoutMs);
}

export function onPong(step: Step, frame: PongFrame): void {
  const { ping } = step.state;
  if (ping === null || (frame.id !== undefined && frame.id !== ping.id)) return;
  const rttMs = Math.max(0, step.now - ping.sentAt);
  const server = Date.parse(frame.timestamp);
  step.set({
    ping: null, rttMs, rttAt: step.now,
    // The server's clock was read about half a round trip ago.
    clockOffsetMs: Number.isNaN(server) ? step.state.clockOffsetMs : server + rttMs / 2 - step.now,
  });
}

/**
 * Plan to replace the token before it expires. The lifetime is the difference of two server times, so a device whose
 * clock is wrong by hours still refreshes in time.
 */
export function armRefresh(step: Step, expiresAt: string | null | undefined, timestamp: string): void {
  const lifetime = expiresAt ? Date.parse(expiresAt) - Date.parse(timestamp) : NaN;
  if (Number.isNaN(lifetime)) {
    return step.set({ tokenExpiresAt: null });
  }
  step.set({ tokenExpiresAt: step.now + lifetime });
  const margin = Math.min(step.config.refreshMarginMs, lifetime * 0.2);
  step.after("refresh", Math.max(1_000, lifetime - margin * (1 + 0.5 * step.random)));
}

/** Whether a refresh timer fired only because timers cannot be longer than 24.8 days; then it is set again. */
export function refreshIsEarly(step: Step): boolean {
  const left = (step.state.tokenExpiresAt ?? 0) - step.now;
  if (left <= 2 ** 30) return false;
  step.after("refresh", left - step.config.refreshMarginMs);
  return true;
}

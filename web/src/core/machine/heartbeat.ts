/**
 * Keepalive and token lifetime of the open connection: is it alive, how far is it, when does its
 * token run out.
 */

import type { PongFrame } from "../frames";
import type { Step } from "./step";

/** Age of the last round trip at which a busy connection is pinged too. */
const rttMaxAgeMs = 60_000;

/** Look again when the silence would have become too long. */
export function armHeartbeat(step: Step): void {
  const silence = step.now - (step.state.heardAt ?? step.now);
  step.after("heartbeat", Math.max(1_000, step.config.heartbeatMs - silence));
}

/** Ping when nothing came for a while, or when the last measured round trip is old. */
export function onHeartbeat(step: Step): void {
  const { state, config } = step;
  const silent = step.now - (state.heardAt ?? 0) >= config.heartbeatMs;
  if (silent || step.now - state.rttAt >= rttMaxAgeMs) sendPing(step);
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
  step.set({ ping: null, rttMs, rttAt: step.now });
  compareClocks(step, frame.timestamp, rttMs / 2);
}

/**
 * Plan to replace the token before it expires. The lifetime is the difference of two server
 * times, so a device whose clock is wrong by hours still refreshes in time.
 */
export function armRefresh(
  step: Step,
  expiresAt: string | null | undefined,
  timestamp: string,
): void {
  const lifetime = Date.parse(expiresAt ?? "") - Date.parse(timestamp);
  step.set({ expiresAt: step.now + lifetime || null });
  if (!lifetime) return;
  const margin = Math.min(step.config.refreshMarginMs, lifetime * 0.2);
  step.after("refresh", Math.max(1_000, lifetime - margin * (1 + 0.5 * step.random)));
}

/**
 * No new token was to be had (yet): ask again when half of the old one's time is over. This also
 * serves tokens that live longer than the longest timer (24.8 days), for which the first
 * question comes too early.
 */
export function refreshLater(step: Step): void {
  step.after("refresh", Math.max(10_000, ((step.state.expiresAt ?? 0) - step.now) / 2));
}

/** Compare the server's clock with ours, by what it showed `travelMs` ago. */
export function compareClocks(step: Step, timestamp: string, travelMs: number): void {
  const server = Date.parse(timestamp);
  if (server) step.set({ skewMs: server + travelMs - step.now });
}

/** Watch one learner while a component shows them. */

import { useCallback, useEffect, useRef, useSyncExternalStore } from "react";
import type { CognitiveState, Assessment } from "../core/frames";
import type { LearnerView, SubscribeOptions } from "../core/machine/types";
import { useWebSocketContext } from "./context";

/** Options of `useLearnerState`. */
export interface LearnerStateOptions extends SubscribeOptions {
  /**
   * Also fetch what updates come without: drivers, mastery, uncertainty …; at most every 2 s.
   * Default false.
   */
  details?: boolean;
}

/**
 * `loading`: asked, not answered · `live`: what is shown is current · `stale`: the connection is
 * gone, this is the last that was known · `empty`: nothing has been recorded for this learner
 * yet · `refused`: not ours to see.
 */
export type LearnerStatus = "loading" | "live" | "stale" | "empty" | "refused";

/** A learner as a component shows them. */
export interface LearnerState {
  readonly learnerId: string;
  readonly status: LearnerStatus;
  /** The six levels; never older than shown before. Null while none are known. */
  readonly state: CognitiveState | null;
  /** Performance, mastery, recommendations, drivers …, as far as told. */
  readonly details: Assessment;
  readonly revision: number | null;
  /** When the server made the state; null while there is none. */
  readonly updatedAt: Date | null;
  /** Everything that is known. */
  readonly view: LearnerView | undefined;
}

const noDetails: Assessment = {};
const detailsIntervalMs = 2_000;

/**
 * Subscribe to a learner for as long as the component is mounted, and render each newer state. Null
 * watches nobody.
 */
export function useLearnerState(
  learnerId: string | null | undefined,
  options: LearnerStateOptions = {},
): LearnerState {
  const { client, isConnected } = useWebSocketContext();
  const { mode, minIntervalMs, details = false } = options;
  const id = learnerId ?? "";

  useEffect(() => {
    if (id === "") return undefined;
    const wanted: SubscribeOptions = {};
    if (mode !== undefined) wanted.mode = mode;
    if (minIntervalMs !== undefined) wanted.minIntervalMs = minIntervalMs;
    return client.subscribeLearner(id, wanted);
  }, [client, id, mode, minIntervalMs]);

  const readView = useCallback(() => client.getLearner(id), [client, id]);
  const readStatus = useCallback(() => client.subscriptionStatus(id), [client, id]);
  const view = useSyncExternalStore(client.subscribe, readView, readView);
  const subscription = useSyncExternalStore(client.subscribe, readStatus, readStatus);
  const active = isConnected && subscription === "active";

  const fetchedAt = useRef(-Infinity);
  // Updates bring some details; what explains a revision, its drivers, comes only when asked for,
  // as the evidence of mastery does.
  const { drivers, mastery = {} } = view?.details ?? noDetails;
  const explained =
    view?.detailsRevision === view?.revision &&
    drivers !== undefined &&
    Object.values(mastery).every((told) => typeof told !== "number");
  const behind = details && active && view?.state != null && !explained;
  const revision = view?.revision ?? null;
  useEffect(() => {
    if (!behind) return undefined;
    const wait = Math.max(0, fetchedAt.current + detailsIntervalMs - client.clock.now());
    const timer = client.clock.setTimeout(() => {
      fetchedAt.current = client.clock.now();
      // A failure shows as details that stay as they are; the next update tries again.
      client.getState(id).catch(() => {});
    }, wait);
    return () => client.clock.clearTimeout(timer);
  }, [client, id, behind, revision]);

  return {
    learnerId: id,
    status: statusOf(active, subscription, view),
    state: view?.state ?? null,
    details: view?.details ?? noDetails,
    revision,
    updatedAt: view?.updatedAt ? new Date(view.updatedAt) : null,
    view,
  };
}

function statusOf(
  active: boolean,
  subscription: string | undefined,
  view: LearnerView | undefined,
): LearnerStatus {
  if (subscription === "refused") return "refused";
  if (view?.state) return active ? "live" : "stale";
  return active ? "empty" : "loading";
}

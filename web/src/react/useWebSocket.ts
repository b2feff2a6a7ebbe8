/** The guide's hook: a connection for as long as a component lives. */

import {
  useEffect,
  useInsertionEffect,
  useMemo,
  useRef,
  useState,
  useSyncExternalStore,
} from "react";
import { RealtimeClient, type ClientOptions, type SentInteraction } from "../core/client";
import type {
  AdaptationRequest,
  ClientFrame,
  ContentAdaptedFrame,
  ErrorFrame,
  ServerFrame,
  StateResponseFrame,
  StateUpdateFrame,
  VirtualBrainInteraction,
  VirtualBrainResponseFrame,
} from "../core/frames";
import { parseServerFrame } from "../core/guards";
import type { Notice, SubscribeOptions } from "../core/machine/types";
import type { ClientSnapshot } from "../core/snapshot";
import { retain } from "./lifetime";

/** What the application is told; the newest functions are used, they need not be memoised. */
export interface WebSocketCallbacks {
  onOpen?: (() => void) | undefined;
  onClose?: ((close: { code: number; reason: string; reconnecting: boolean }) => void) | undefined;
  /** Every frame the server sends. */
  onMessage?: ((frame: ServerFrame) => void) | undefined;
  /** Each newer state of a subscribed learner, whichever frame brought it. */
  onStateUpdate?: ((update: StateUpdateFrame) => void) | undefined;
  onVirtualBrainResponse?: ((response: VirtualBrainResponseFrame) => void) | undefined;
  /** Errors of the server, of the connection, and interactions that were given up. */
  onError?: ((error: ErrorFrame) => void) | undefined;
}

/** Options of `useWebSocket`, after the guide. */
export interface WebSocketOptions
  extends Omit<ClientOptions, "config" | "environment">, WebSocketCallbacks {
  /** Whether to connect as soon as there is a token; default true. */
  autoConnect?: boolean | undefined;
  /** A client made elsewhere, instead of one made here from `url` and the other options. */
  client?: RealtimeClient | undefined;
}

/**
 * What `useWebSocket` and `useWebSocketContext` give: the state of the connection and what can be
 * done with it.
 */
export interface WebSocketHandle extends ClientSnapshot {
  readonly client: RealtimeClient;
  connect(): void;
  disconnect(): void;
  send(frame: ClientFrame): boolean;
  subscribeLearner(learnerId: string, options?: SubscribeOptions): void;
  unsubscribeLearner(learnerId: string): void;
  sendVirtualBrainInteraction(interaction: VirtualBrainInteraction): SentInteraction;
  getState(learnerId: string): Promise<StateResponseFrame>;
  adaptContent(request: AdaptationRequest): Promise<ContentAdaptedFrame>;
  joinRoom(roomId: string): void;
  leaveRoom(roomId: string): void;
  sendRoomMessage(roomId: string, data: Record<string, unknown>): boolean;
  clearQueue(): void;
}

/**
 * A connection that lives as long as the component. Rendered on a server it is simply not
 * connected.
 */
export function useWebSocket(options: WebSocketOptions): WebSocketHandle {
  const latest = useLatest(options);
  const client = useClient(options, latest);
  const snapshot = useSyncExternalStore(client.subscribe, client.getSnapshot, client.getSnapshot);
  useCallbacks(client, latest);
  useConnection(client, options);
  const actions = useMemo(() => actionsOf(client), [client]);
  return useMemo(() => ({ ...snapshot, ...actions }), [snapshot, actions]);
}

type Latest = { readonly current: WebSocketOptions };

function useLatest(options: WebSocketOptions): Latest {
  const latest = useRef(options);
  useInsertionEffect(() => {
    latest.current = options;
  });
  return latest;
}

/**
 * The given client, or one of our own; another one when an option changes that a client cannot
 * change.
 */
function useClient(options: WebSocketOptions, latest: Latest): RealtimeClient {
  const {
    url,
    userId,
    reconnect,
    reconnectInterval,
    maxReconnectAttempts,
    enableOfflineQueue,
    maxFrameBytes,
  } = options;
  const key = JSON.stringify([
    url,
    userId,
    reconnect,
    reconnectInterval,
    maxReconnectAttempts,
    enableOfflineQueue,
    maxFrameBytes,
  ]);
  const make = () => {
    const { token } = options;
    const getToken = () => (latest.current.getToken ?? (() => latest.current.token))();
    return {
      key,
      client: new RealtimeClient({
        ...options,
        parse: options.parse ?? parseServerFrame,
        token,
        getToken,
      }),
    };
  };
  const [held, setHeld] = useState(() => (options.client ? null : make()));
  if (options.client) return options.client;
  if (held?.key === key) return held.client;
  const next = make();
  setHeld(next);
  return next.client;
}

function useConnection(
  client: RealtimeClient,
  { autoConnect = true, token, getToken, client: given }: WebSocketOptions,
): void {
  const active = autoConnect && (Boolean(token) || getToken !== undefined || given !== undefined);
  useEffect(() => retain(client), [client]);
  const wasActive = useRef(false);
  useEffect(() => {
    if (active) client.connect();
    else if (wasActive.current) client.disconnect();
    wasActive.current = active;
  }, [client, active]);
  const used = useRef(token);
  useEffect(() => {
    if (used.current !== token && token) client.tokenChanged();
    used.current = token;
  }, [client, token]);
}

function useCallbacks(client: RealtimeClient, latest: Latest): void {
  useEffect(() => {
    const stops = [
      client.on("open", () => latest.current.onOpen?.()),
      client.on("close", ({ kind: _, ...close }) => latest.current.onClose?.(close)),
      client.on("state", ({ update }) => latest.current.onStateUpdate?.(update)),
      client.on("frame", ({ frame }) => {
        latest.current.onMessage?.(frame);
        if (frame.type === "virtual_brain_response") latest.current.onVirtualBrainResponse?.(frame);
      }),
      client.on("error", (notice) => latest.current.onError?.(asErrorFrame(notice))),
      client.on("failed", (notice) => latest.current.onError?.(asErrorFrame(notice))),
    ];
    return () => stops.forEach((stop) => stop());
  }, [client, latest]);
}

function asErrorFrame(notice: Extract<Notice, { error: unknown }>): ErrorFrame {
  if ("frame" in notice && notice.frame?.type === "error") return notice.frame;
  const { code, message, retryable, id } = notice.error;
  const frame: ErrorFrame = {
    type: "error",
    error: message,
    code,
    retryable,
    timestamp: new Date().toISOString(),
  };
  return id === undefined ? frame : { ...frame, id };
}

function actionsOf(client: RealtimeClient) {
  return {
    client,
    connect: () => client.connect(),
    disconnect: () => client.disconnect(),
    send: (frame: ClientFrame) => client.send(frame),
    subscribeLearner: (learnerId: string, options?: SubscribeOptions) =>
      void client.subscribeLearner(learnerId, options),
    unsubscribeLearner: (learnerId: string) => client.unsubscribeLearner(learnerId),
    sendVirtualBrainInteraction: (interaction: VirtualBrainInteraction) =>
      client.sendVirtualBrainInteraction(interaction),
    getState: (learnerId: string) => client.getState(learnerId),
    adaptContent: (request: AdaptationRequest) => client.adaptContent(request),
    joinRoom: (roomId: string) => client.joinRoom(roomId),
    leaveRoom: (roomId: string) => client.leaveRoom(roomId),
    sendRoomMessage: (roomId: string, data: Record<string, unknown>) =>
      client.sendRoomMessage(roomId, data),
    clearQueue: () => client.clearQueue(),
  };
}

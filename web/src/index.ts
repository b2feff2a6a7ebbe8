/** `@aivo/realtime`: the framework-free client. */

export { RealtimeClient, type ClientOptions, type SentInteraction } from "./core/client";
export {
  afterClose,
  closeCodes,
  errorCodes,
  RealtimeError,
  reconnects,
  type AfterClose,
  type ClientErrorCode,
  type ServerErrorCode,
} from "./codes";
export type { Clock, Environment, SocketLike } from "./core/environment";
export type * from "./core/frames";
export type {
  Config,
  LearnerView,
  Notice,
  Phase,
  State,
  SubscribeOptions,
} from "./core/machine/types";
export { connectionQuality, type ConnectionQuality, type QualityLevel } from "./core/quality";
export type { ConnectionStatus, ClientSnapshot } from "./core/snapshot";
export type { StorageLike } from "./core/storage";
export { parseServerFrame } from "./core/guards";
export type { Parsed } from "./core/parse";
export { VirtualBrainClient, virtualBrainClient } from "./core/virtualBrainClient";

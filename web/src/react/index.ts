/** `@aivo/realtime/react`: the React binding and the components. */

export { WebSocketProvider, useWebSocketContext, type WebSocketProviderProps } from "./context";
export {
  ConnectionQualityIndicator,
  type ConnectionQualityIndicatorProps,
} from "./ConnectionQualityIndicator";
export { bandInWords, toneOfBand, unwished } from "./bands";
export { levels, percent, toneOf, wordOf, type LevelDescription, type Tone } from "./levels";
export { useConnectionQuality } from "./useConnectionQuality";
export {
  useLearnerState,
  type LearnerState,
  type LearnerStateOptions,
  type LearnerStatus,
} from "./useLearnerState";
export {
  useWebSocket,
  type WebSocketCallbacks,
  type WebSocketHandle,
  type WebSocketOptions,
} from "./useWebSocket";
export { VirtualBrainMonitor, type VirtualBrainMonitorProps } from "./VirtualBrainMonitor";
export { virtualBrainClient } from "../core/virtualBrainClient";

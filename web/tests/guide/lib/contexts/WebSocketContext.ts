export { WebSocketProvider, useWebSocketContext } from "@aivo/realtime/react";

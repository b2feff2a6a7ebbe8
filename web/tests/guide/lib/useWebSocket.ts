export { useWebSocket } from "@aivo/realtime/react";

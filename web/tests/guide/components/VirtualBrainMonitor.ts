export { VirtualBrainMonitor } from "@aivo/realtime/react";

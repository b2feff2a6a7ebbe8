export { virtualBrainClient } from "@aivo/realtime";

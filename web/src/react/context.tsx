/** One connection for a whole application, after the guide. */

import { createContext, useContext, type ReactNode } from "react";
import { useWebSocket, type WebSocketHandle, type WebSocketOptions } from "./useWebSocket";

const WebSocketContext = createContext<WebSocketHandle | null>(null);

/** Props of `WebSocketProvider`: the options of `useWebSocket`, and what is inside. */
export interface WebSocketProviderProps extends WebSocketOptions {
  children?: ReactNode;
}

/** Connects while mounted, and gives everything inside it the connection. */
export function WebSocketProvider({ children, ...options }: WebSocketProviderProps) {
  return (
    <WebSocketContext.Provider value={useWebSocket(options)}>{children}</WebSocketContext.Provider>
  );
}

/** The connection of the nearest `WebSocketProvider`. Throws outside of one. */
export function useWebSocketContext(): WebSocketHandle {
  const handle = useContext(WebSocketContext);
  if (handle === null)
    throw new Error("useWebSocketContext must be used within a WebSocketProvider");
  return handle;
}

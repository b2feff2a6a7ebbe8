// Pasted from the integration guide, unchanged.
import { useWebSocket } from '@/lib/useWebSocket';

export function Settings() {
  // Adjust reconnection settings
  const ws = useWebSocket({
    url: 'ws://localhost:8000/ws',
    token: 'your-token',
    reconnect: true,
    reconnectInterval: 3000,  // 3 seconds
    maxReconnectAttempts: 5,
  });
  return <p>{ws.status}</p>;
}

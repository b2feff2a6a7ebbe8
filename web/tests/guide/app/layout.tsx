// Pasted from the integration guide, unchanged.
// app/layout.tsx or _app.tsx
import { WebSocketProvider } from '@/lib/contexts/WebSocketContext';
import { getToken } from '@/lib/auth';

export default function RootLayout({ children }) {
  const token = getToken(); // Your JWT token
  const wsUrl = process.env.NEXT_PUBLIC_WS_URL || 'ws://localhost:8000/ws';

  return (
    <html>
      <body>
        <WebSocketProvider
          url={wsUrl}
          token={token}
          autoConnect={true}
          onStateUpdate={(data) => console.log('State update:', data)}
          onVirtualBrainResponse={(data) => console.log('VB response:', data)}
          onError={(error) => console.error('WS error:', error)}
        >
          {children}
        </WebSocketProvider>
      </body>
    </html>
  );
}

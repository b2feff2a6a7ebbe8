// Pasted from the integration guide, unchanged.
import { useEffect } from 'react';
import { useWebSocketContext } from '@/lib/contexts/WebSocketContext';
import { virtualBrainClient } from '@/lib/services/virtualBrainClient';

function ParentDashboard({ learnerId }) {
  const { subscribeLearner, unsubscribeLearner, subscribedLearners } = useWebSocketContext();

  useEffect(() => {
    // Subscribe to learner updates
    subscribeLearner(learnerId);

    // Listen for state changes
    const unsubscribe = virtualBrainClient.onStateUpdate(learnerId, (state) => {
      console.log('Cognitive state:', state);
      // Update your UI with new state
    });

    return () => {
      unsubscribeLearner(learnerId);
      unsubscribe();
    };
  }, [learnerId]);

  return (
    <div>
      <p>Subscribed: {subscribedLearners.has(learnerId) ? 'Yes' : 'No'}</p>
      {/* Your dashboard UI */}
    </div>
  );
}

export { ParentDashboard };

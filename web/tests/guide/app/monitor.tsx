// Pasted from the integration guide, unchanged.
// pages/learner/[id]/monitor.tsx
import { VirtualBrainMonitor } from '@/components/VirtualBrainMonitor';

export default function LearnerMonitorPage({ params }) {
  return (
    <div className="container mx-auto p-6">
      <h1 className="text-2xl font-bold mb-6">Real-time Monitoring</h1>
      
      <VirtualBrainMonitor
        learnerId={params.id}
        showPerformance={true}
        showRecommendations={true}
      />
    </div>
  );
}

// Pasted from the integration guide, unchanged.
import { useWebSocketContext } from '@/lib/contexts/WebSocketContext';

function LearningActivity({ learnerId }) {
  const { sendVirtualBrainInteraction, isConnected } = useWebSocketContext();

  const handleAnswer = (question: string, answer: string, correct: boolean) => {
    if (!isConnected) return;

    sendVirtualBrainInteraction({
      learner_id: learnerId,
      type: 'question_response',
      content: question,
      response: answer,
      context: {
        correct,
        difficulty: 3,
        subject: 'math',
        time_taken: 15.5,
      },
    });
  };

  return (
    <div>
      {/* Your learning activity UI */}
    </div>
  );
}

export { LearningActivity };

"""What an edge says about itself: counts, spans, records of frames, and whom it cannot reach."""

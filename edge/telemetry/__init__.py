"""What an edge reports about itself: counters, spans, records of frames, unreachable services."""

"""Who hears what at this edge: subscriptions to learners, and members of chat rooms."""

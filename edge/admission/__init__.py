"""Who may connect, what they may do, and how much: decisions, connected people, limits."""

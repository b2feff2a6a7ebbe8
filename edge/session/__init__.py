"""What one socket may do and how its frames are answered. Depends on frames and ports only, on no
transport and no library.

Nothing here awaits: answers come back by callbacks, so a frame costs no task and no future.
"""

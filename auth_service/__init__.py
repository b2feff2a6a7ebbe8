"""Who is connected and whom they may watch. It alone knows passwords, signing keys and
relations.
"""

"""Who is connected and whom they may watch; keeps passwords, signing keys and relations."""

"""Who is connected and whom they may watch: passwords, signing keys and relations."""

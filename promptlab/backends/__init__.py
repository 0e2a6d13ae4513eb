"""What answers requests: an OpenAI-compatible server, the local model, or nothing (offline)."""

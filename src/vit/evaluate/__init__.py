"""Protocols: features and labels in, a Result out; nothing here knows a training loop."""

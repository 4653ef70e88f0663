"""A Lightstreamer-compatible server on loopback, with a simulated station or a recording behind it."""

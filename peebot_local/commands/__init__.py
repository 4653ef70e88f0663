"""The commands of `peebot`, by subject. What one needs is imported when it runs: each starts quickly."""

"""What the benchmarks share: a scratch store, a counted load, commits as a bystander sees them, reports."""

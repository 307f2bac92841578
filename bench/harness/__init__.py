"""Side-by-side benchmarks of `host` and its peers."""

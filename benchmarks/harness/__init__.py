"""Shared parts of all benchmarks: timing, tables, results, resumable runs, cohorts, servers, and targets."""

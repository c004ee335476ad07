"""Benchmarks of fastconv beside other libraries: README.md says how to run and how to quote."""

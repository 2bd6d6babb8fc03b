"""Measurements of the testbed itself; docs/performance.md says what each has given."""

"""The benchmark suite: every operator beside its peers and the machine's floor, in one process.

``harness`` measures, one module a family says what, ``goals`` judges, ``report`` shows.
"""

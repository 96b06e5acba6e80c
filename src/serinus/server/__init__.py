"""The composition root: the only place that reads settings, the clock and the environment.

`supervisor` starts the other processes; `gateway` and `controller` are their main modules.
"""

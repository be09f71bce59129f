"""The parts of ``benchmarks/autoscale_sim.py``: market, traces, simulator, policies, optimum, plot."""

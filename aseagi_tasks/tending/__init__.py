"""Tending the fleet: what beat's ``autoscale`` and the commands of ``aseagi fleet`` do.

    shift      one at a time        watching   what is there: queue, instances, offers, limits
    acting     launch, drain, destroy, each with its intent written first      billing   what it costs
    tick       watch, bill, decide, act, tell       orders     what operators ask for

A tick reads everything once and keeps nothing in memory, so one that is killed at any line is picked up by the next.
"""

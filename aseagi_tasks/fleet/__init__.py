"""The rented machines: what to rent (``autoscale``, in the words of ``model``), how, and life on one (``instance``)."""

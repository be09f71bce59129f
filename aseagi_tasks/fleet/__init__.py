"""The rented machines: what to rent (``autoscale``, in the words of ``model``), and how."""

"""The control plane's HTTP side for rented machines: enrolment, reports, and the worker gateway."""

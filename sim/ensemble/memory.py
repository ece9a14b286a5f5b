"""How the C library treats memory that a step has freed (no torch)."""

import ctypes
from contextlib import suppress


def keep_freed_memory() -> None:
    """Let the C library keep what a step frees for the next one, where it takes such a setting.

    glibc gives large blocks back to the system at once and takes them anew, page by page: measured, that doubled the
    time of a step with literal noise, and made it jump. Memory still has the limit of `polyseme.sim.multi_concept.plan.check_fits`.
    """
    trim_threshold, mmap_threshold = -1, -3  # M_TRIM_THRESHOLD and M_MMAP_THRESHOLD of malloc.h
    with suppress(OSError, AttributeError):
        for parameter in (trim_threshold, mmap_threshold):
            ctypes.CDLL(None).mallopt(parameter, 2**30)

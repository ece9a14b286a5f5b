"""Named regimes shipped with polyseme: default, minimal, noisy."""

"""polyseme: a verifier for theories of how transformers learn in context."""

"""Start the workers of a local cluster quickly: import modules once, then fork each worker."""

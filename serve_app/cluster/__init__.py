"""Start Ray clusters, and the Serve applications on them."""

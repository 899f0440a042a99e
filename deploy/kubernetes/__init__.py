"""Manifests for Kubernetes; their Serve configs follow from the settings beside them."""

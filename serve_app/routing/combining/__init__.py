"""Combine the hypotheses of an ensemble: ROVER, minimum Bayes risk and simpler methods."""

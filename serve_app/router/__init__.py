"""The Router: transcribes lists of records by rules, plans and models."""

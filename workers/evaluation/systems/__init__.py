"""Systems that can be evaluated (models, plans, functions), and recognition with them."""

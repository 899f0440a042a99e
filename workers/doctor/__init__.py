"""The examinations of `chorus doctor`: of one model, and of the whole installation."""

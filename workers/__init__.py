"""All that calls the models: the stream worker, file jobs, evaluation, fine-tuning, commands."""

"""Dead letters: why records were given up, and to replay, edit or drop them.

`overview` counts and groups what is in the topic, `asked` reads what a form means, `page` has the
handlers.
"""

"""Models: versions, what each alias named when, cards; promoting and rolling back.

`view` gathers what the pages show of a registry, `page` has the handlers.
"""

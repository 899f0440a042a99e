"""The web pages of `chorus console`: hear, see and decide.

`app` puts the application together. Each page is a package or a module with its handlers, named in
`pages`; its templates are in `templates`, its scripts and styles in `static`. `access` says who may
see or do what, `audit` who did. Pages are made on the server with Jinja; htmx exchanges parts of
them, and small ES modules draw what moves. Nothing is loaded from another host, and no script or
style stands in a page: see `headers`.
"""

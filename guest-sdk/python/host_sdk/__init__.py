"""What plugins of `host` in Python are written with.

    wsgi.handler(app)   serves a WSGI application (Flask, Bottle, Django …)
    asgi.handler(app)   serves an ASGI application (Starlette, FastAPI …)
    process, cluster    `host:cluster` with Python's manners
    net                 raw connections
    subprocess          programs that the operator granted, as with Python's `subprocess`
    primary             the primary program

The bindings themselves are in `wit_world`, which componentize-py writes for the world the plugin is built for.
"""

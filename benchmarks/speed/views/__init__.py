"""Views: the applications that the load of requests is for, run by gunicorn."""

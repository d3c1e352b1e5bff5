"""The float graph that the front end builds and the quantised graph that everything after it reads."""

"""The isolation verifier: tries what everyone can reach, and compares with what they are meant to.

`access` reads the intended access, `found` the catalog; `cells` derives from both what is to be tried, as a pure
function; `trial` tries it on the server; `verdict` judges; `run` puts them together.
"""

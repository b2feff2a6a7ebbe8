"""The steps that bring a database of the brain from any older schema to the present one, run by
`store` at opening.
"""

"""Tasks of kind "restoration": estimate the expected counts of a standard scan from a rapid scan."""

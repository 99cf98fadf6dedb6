"""Public datasets that somebody brings, converted into a folder of cases; none is carried here."""

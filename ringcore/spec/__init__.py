"""What laptop and hosts agree on: values, messages and errors. Imports nothing of the rest."""

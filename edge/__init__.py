"""A node: everything that runs beside the visitors. Imports nothing from the control plane."""

"""Looking inside: one training step explained, derivatives checked, the installation examined."""

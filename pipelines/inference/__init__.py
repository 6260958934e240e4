"""What a trained network is used for: predictions for new images, and export to other formats."""

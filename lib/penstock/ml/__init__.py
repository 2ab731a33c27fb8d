"""Training, keeping, comparing and applying models on tables; needs nothing of MLlib once a model is trained."""

"""Local EMR: an endpoint for the three APIs of EMR, in front of moto, that really runs what is submitted to it."""

"""The jobs that come with Penstock, one module each, found through the entry-point group `penstock.jobs`."""

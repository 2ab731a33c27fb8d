"""Retail: from daily files of invoice lines to daily sales, products, customers and baskets."""

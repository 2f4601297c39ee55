"""Workers that run each batch to completion, in virtual time, under the product's scheduler or another policy."""
